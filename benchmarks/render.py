"""Write the README's tables and its plot from `benchmarks/results/*.json`; keep what matters of a pytest-benchmark run.

python -m pytest benchmarks --benchmark-only --benchmark-json=run.json
python benchmarks/render.py run.json     # writes results/foundation.json, then renders
python benchmarks/render.py              # only renders the stored results again
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this file is also run by its path

from benchmarks.quiet import LIMIT  # noqa: E402  # found by then

RESULTS = ROOT / "benchmarks" / "results" / "foundation.json"
README, PLOT = ROOT / "README.md", ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: written by benchmarks/render.py -->", "<!-- /measured -->"
BESIDE = "<!-- beside: written by benchmarks/render.py -->", "<!-- /beside -->"

# test name: what a reader calls it
ROWS = {
    "test_query[mini]": "query, mini: 640 x 480 JPEG to ranked fabrics (15 fabrics, 45 photos)",
    "test_query[b32]": "query, ViT-B/32 fp32: the same",
    "test_rank_by_retrieval[mini]": "`rank_by_retrieval`, mini: the same",
    "test_rank_by_retrieval[b32]": "`rank_by_retrieval`, ViT-B/32 fp32: the same",
    "test_rules_and_photos[mini]": "rules, photos and confidence, mini: the same",
    "test_encode_images[mini-1]": "embedding, mini, one image",
    "test_encode_images[b32-1]": "embedding, ViT-B/32, one image",
    "test_encode_images[b32-8]": "embedding, ViT-B/32, batch of 8",
    "test_encode_dense[mini]": "all Surgery streams, mini, one image",
    "test_encode_dense[b32]": "all Surgery streams, ViT-B/32, one image",
    "test_new_prompt[b32]": "text, ViT-B/32, a new prompt",
    "test_new_class_of_80_templates[b32]": "text, ViT-B/32, a new class with 80 templates",
    "test_remembered_class[b32]": "text, ViT-B/32, a class seen before",
    "test_index_search[100000]": "index, 1 query x 100,000 x 512, top 10, exact",
    "test_bank_rank": "bank, one vector to ranked fabrics (45 photos)",
    "test_call_on_1000_vectors[rank]": "bank, one vector to ranked fabrics (1,000 photos x 512)",
    "test_call_on_1000_vectors[product]": "of that the arithmetic alone",
}


def keep(raw: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Medians and spread in milliseconds, and what they were measured on; no names of machines or paths.

    Of a benchmark during which others took more than a twentieth of the cores' time, what was stored before stays.
    """
    cpu = raw["machine_info"].get("cpu", {})
    disturbed = {b["name"]: b["extra_info"]["others"] for b in raw["benchmarks"] if b["extra_info"]["others"] > LIMIT}
    for name, others in disturbed.items():
        sys.stdout.write(f"NOT SAVED: {name}: others took {others:.0%} of the cores' time.\n")
    return {
        "cpu": cpu.get("brand_raw", raw["machine_info"]["machine"]),
        "cores": cpu.get("count"),
        "python": raw["machine_info"]["python_version"],
        "benchmarks": before.get("benchmarks", {})
        | {
            b["name"]: {
                "min_ms": 1e3 * b["stats"]["min"],
                "median_ms": 1e3 * b["stats"]["median"],
                "p95_ms": 1e3 * _percentile(b["stats"]["data"], 0.95),
                "rounds": b["stats"]["rounds"],
                **b["extra_info"],
            }
            for b in raw["benchmarks"]
            if b["name"] not in disturbed
        },
    }


def table(results: dict[str, Any]) -> str:
    """The README's table."""
    found = results["benchmarks"]
    some = next(iter(found.values()))
    machine = f"{results['cpu']}, {results['cores']} cores, {some['threads']} threads"
    lines = [
        f"{machine}, Python {results['python']}, onnxruntime {some['onnxruntime']}; seeded weights for ViT-B/32. "
        "Milliseconds, warm. The machine is shared and noisy: the minimum shows what it can do, the rest what it did.",
        "",
        "| what | min | median | p95 |",
        "|---|--:|--:|--:|",
    ]
    for name, label in ROWS.items():
        if name in found:
            row = found[name]
            lines.append(f"| {label} | {row['min_ms']:.3g} | {row['median_ms']:.3g} | {row['p95_ms']:.3g} |")
    return "\n".join(lines)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Store the run that is named, then render what is stored."""
    if len(sys.argv) == 2:
        stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        kept = keep(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), stored)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    render()


def render() -> None:
    """Write both tables and the plot from what is stored."""
    from benchmarks import headlines

    found = headlines.headlines()
    text = README.read_text(encoding="utf-8")
    text = _between(text, (BEGIN, END), table(json.loads(RESULTS.read_text(encoding="utf-8"))))
    text = _between(text, BESIDE, headlines.table(found))
    README.write_text(text, encoding="utf-8")
    PLOT.write_text(headlines.plot(found), encoding="utf-8")


def _between(text: str, marks: tuple[str, str], body: str) -> str:
    before, rest = text.split(marks[0])
    return f"{before}{marks[0]}\n\n{body}\n\n{marks[1]}{rest.split(marks[1])[1]}"


if __name__ == "__main__":
    main()
