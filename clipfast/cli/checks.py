"""Check points: the ✓ and ✗ lines that commands of the fabric workflow end with, and the class distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipfast.cli.console import out
from clipfast.cli.messages import Speaker
from clipfast.retrieval.answers import UNCERTAIN, Judgement

__all__ = ["Check", "answer_checks", "shares_check", "show_checks", "show_classes"]


@dataclass(frozen=True, slots=True)
class Check:
    """One point of the list."""

    name: str
    ok: bool
    detail: str


def show_checks(checks: Sequence[Check]) -> None:
    """Write one line for every point, with a tick or a cross."""
    for check in checks:
        mark, style = ("✓", "green") if check.ok else ("✗", "yellow")
        colon = "：" if any("\u4e00" <= sign <= "\u9fff" for sign in check.name) else ": "
        out.print(f"{mark} {check.name}{colon}{check.detail}", style=style)


def shares_check(say: Speaker, key: str, total: int, others: Sequence[str], **values: object) -> Check:
    """Return a check point that holds if there are no others, and names the first few."""
    shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
    names = say("not", names=shown) if others else ""
    return Check(say(key, **values), not others, say("of", good=total - len(others), total=total, others=names))


def answer_checks(say: Speaker, judged: Judgement) -> list[Check]:
    """Return the check points of an answer: sure enough, and of a fabric that the bank seems to hold."""
    return [
        Check(say("check_certain"), judged.confidence >= UNCERTAIN, f"{judged.confidence:.0%}"),
        Check(say("check_known"), not judged.none, say("recommend_none" if judged.none else "recommend_some")),
    ]


def show_classes(say: Speaker, counts: Mapping[str, int]) -> None:
    """Write the class distribution and the total."""
    out.print(say("class_distribution"))
    for name, count in counts.items():
        out.print(say("class_samples", name=name, count=count))
    out.print(say("total_samples", samples=sum(counts.values()), classes=len(counts)))
