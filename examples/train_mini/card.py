"""Write the table of a model card from stored reports, so that no figure is typed by hand.

    python examples/train_mini/card.py clipfast/models/mini/MODEL_CARD.md mini=REPORT.json prototype=REPORT.json

The table goes between the two marks in the card. One report is one column; rows are those of the first report.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from arguments import column, existing
from clipfast.storage import atomic_write

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TITLES = {
    "fabricworld": "clipfast's own rendered world (`clipfast.datasets.fabricworld`)",
    "prototype": "The prototype's rendered world, which this model never saw",
    "photographs": "Pictures that are no rendering of ours",
}


def table(reports: dict[str, dict[str, Any]]) -> str:
    """Return Markdown: for each world a table, a row for each figure, a column for each report.

    >>> figure = {"estimate": 0.5, "interval": [0.4, 0.6], "pictures": 9}
    >>> print(table({"mini": {"worlds": {"fabricworld": {"right": figure}}}}).splitlines()[-1])
    | right | .500 [.400, .600] |
    """
    first = next(iter(reports.values()))["worlds"]
    lines: list[str] = []
    for world, figures in first.items():
        lines += [
            "",
            f"### {TITLES.get(world, world)}",
            "",
            f"| | {' | '.join(reports)} |",
            "|---" * (len(reports) + 1) + "|",
        ]
        for name in figures:
            cells = [_cell(report["worlds"].get(world, {}).get(name)) for report in reports.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines).strip()


def filled(card: str, reports: dict[str, dict[str, Any]]) -> str:
    """Return the card with its table replaced."""
    before, _, rest = card.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"The card must hold the marks {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{table(reports)}\n{END}{after}"


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["estimate"] is None:
        return "–"
    low, high = figure["interval"]
    return f"{_number(figure['estimate'])} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if value < 1 else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("card", type=existing)
    parser.add_argument("reports", nargs="+", type=column, metavar="column=REPORT.json")
    asked = parser.parse_args()
    reports = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in asked.reports}
    text = filled(asked.card.read_text(encoding="utf-8"), reports)
    with atomic_write(asked.card) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
