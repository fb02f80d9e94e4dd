"""The README's comparison: which stored races it shows, as a table and as a plot.

A line names a race and its peers; of several peers the best one counts. What has not been measured is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LINES", "Headline", "headlines", "plot", "table"]

RESULTS = Path(__file__).resolve().parent / "results"
PLAIN, OPEN_CLIP = "plain ONNX Runtime", "open_clip, Pillow, FAISS"
FLAT = ("FAISS flat", "FAISS flat, matrix product", "FAISS flat, 1 thread")
NNCF = ("OpenVINO, NNCF int8", "OpenVINO, NNCF int8, bf16 for the rest")
HALVED = "int8 with bf16 for the rest"

# (file, race, peers, how a reader calls the work, and the peer)
LINES: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    *(
        line
        for model in ("ViT-B-32", "ViT-B-16", "ViT-L-14")
        for line in (
            ("engine", f"embedding, {model}, fp32, batch 1", (PLAIN,), f"{model}, fp32", "plain ONNX Runtime"),
            (
                "engine",
                f"embedding, {model}, fp32, batch 1",
                ("torch eager", "torch.compile"),
                f"{model}, fp32",
                "PyTorch",
            ),
            ("engine", f"embedding, {model}, fp32, batch 1", ("OpenVINO, f32",), f"{model}, fp32", "OpenVINO"),
            (
                *("engine", f"embedding, {model}, fp32 on OpenVINO, batch 1", (PLAIN,)),
                *(f"{model}, fp32 on OpenVINO", PLAIN),
            ),
            (
                *("engine", f"embedding, {model}, fp32 on OpenVINO, batch 1", ("OpenVINO, f32",)),
                *(f"{model}, fp32 on OpenVINO", "OpenVINO"),
            ),
            ("engine", f"embedding, {model}, bf16, batch 1", (f"{PLAIN}, fp32",), f"{model}, bf16", f"{PLAIN}, fp32"),
            ("engine", f"embedding, {model}, bf16, batch 1", ("OpenVINO, bf16",), f"{model}, bf16", "OpenVINO, bf16"),
            ("engine", f"embedding, {model}, int8, batch 1", (f"{PLAIN}, fp32",), f"{model}, int8", f"{PLAIN}, fp32"),
            ("engine", f"embedding, {model}, int8, batch 1", NNCF, f"{model}, int8", "OpenVINO with NNCF int8"),
            (
                *("engine", f"embedding, {model}, {HALVED}, batch 1", NNCF),
                *(f"{model}, {HALVED}", "OpenVINO with NNCF int8, best"),
            ),
        )
    ),
    ("engine", "embedding, ViT-B-32, fp32, batch 8", (PLAIN,), "ViT-B-32, fp32, eight images", PLAIN),
    (
        "engine",
        "embedding, ViT-B-32, fp32, batch 8",
        ("OpenVINO, f32",),
        "ViT-B-32, fp32, eight images",
        "OpenVINO",
    ),
    ("engine", "JPEG 1920 x 1080 to input, exact", ("open_clip",), "1080p JPEG to input, bit for bit", "open_clip"),
    (
        "engine",
        "JPEG 4000 x 3000 to input, fast",
        ("open_clip",),
        "12 MP JPEG to input, scaled while decoding",
        "open_clip",
    ),
    (
        "engine",
        "JPEG 4000 x 3000 to input, fast",
        ("open_clip after Pillow's draft",),
        "12 MP JPEG to input, scaled while decoding",
        "open_clip after Pillow's draft",
    ),
    (
        *("engine", "JPEG 1920 x 1080 to the ten nearest of 100,000, ViT-B-32", (OPEN_CLIP,)),
        *("1080p JPEG to the best 10 of 100,000, fp32", "open_clip, Pillow, FAISS"),
    ),
    (
        "engine",
        "process start to first embedding, ViT-B-32, fp32",
        ("open_clip",),
        "process start to first embedding",
        "open_clip",
    ),
    (
        "search",
        "8 calls of one query x 1,000,000 x 512",
        FLAT,
        "one query among 1,000,000, exact",
        "FAISS, best setting",
    ),
    (
        *("search", "8 calls of one query x 1,000,000 x 512", ("NumPy",)),
        *("one query among 1,000,000, exact", "NumPy, best setting"),
    ),
    (
        *("search", "8 calls among 10 % of 1,000,000 x 512"),
        *(("FAISS flat, bitmap", "FAISS flat, batch", "FAISS flat, array"), "one query among a tenth of 1,000,000"),
        "FAISS, best selector",
    ),
    ("search", "196 patches x 20,000 x 768, nearest", FLAT, "196 patches x 20,000, nearest", "FAISS, best setting"),
    ("kernels", "AUROC, 10 M float32, 2% positives", ("scikit-learn",), "AUROC of 10 M pixels, exact", "scikit-learn"),
    ("kernels", "AUPRO to 0.3, 100 maps of 256 x 256", ("anomalib",), "AUPRO of 100 maps", "anomalib"),
    (
        *("kernels", "components, areas and boxes, 8-connected, 3162 x 3162, blobs (26.0% foreground)"),
        *(("OpenCV, with statistics",), "components with areas and boxes, 10 M pixels", "OpenCV"),
    ),
)


@dataclass(frozen=True)
class Headline:
    """One line.

    Attributes:
        work: What is done.
        peer: Who else did it.
        ours_ms: Our median.
        peer_ms: Theirs.
        ratio: Of the two.
        low: Lower end of its 95 % interval.
        high: Upper end.
        must: What the project promises; None for nothing.
    """

    work: str
    peer: str
    ours_ms: float
    peer_ms: float
    ratio: float
    low: float
    high: float
    must: float | None


def headlines(folder: Path = RESULTS) -> list[Headline]:
    """Read the stored races that `LINES` names."""
    stored: dict[str, dict[str, Any]] = {}
    for name in {line[0] for line in LINES}:
        path = folder / f"{name}.json"
        stored[name] = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
    found = []
    for file, race, peers, work, peer in LINES:
        case = stored[file].get(race)
        ran = [name for name in peers if case is not None and name in case["ratios"]]
        if case is None or not ran:
            continue
        best = min(ran, key=lambda name, ratios=case["ratios"]: ratios[name]["ratio"])  # type: ignore[misc]  # a default in a lambda has no type
        ours = next(iter(case["contenders"].values()))
        found.append(
            Headline(
                work=work,
                peer=peer,
                ours_ms=ours["median_ms"],
                peer_ms=case["contenders"][best]["median_ms"],
                **{name: case["ratios"][best][name] for name in ("ratio", "low", "high")},
                must=case["ratios"][best].get("must"),
            )
        )
    return found


def table(found: Sequence[Headline]) -> str:
    """Every line with its interval, and what was promised."""
    lines = ["| what | beside | ours, ms | theirs, ms | times (95 %) | goal |", "|---|---|--:|--:|--:|--:|"]
    for one in found:
        goal = "" if one.must is None else f"{one.must:g}{'' if one.low >= one.must else _missed(one)}"
        lines.append(
            f"| {one.work} | {one.peer} | {one.ours_ms:.3g} | {one.peer_ms:.3g} | "
            f"{one.ratio:.3g} ({one.low:.3g} to {one.high:.3g}) | {goal} |"
        )
    return "\n".join(lines)


def _missed(one: Headline) -> str:
    return ", missed" if one.must is not None and one.high < one.must else ", within the noise"


def plot(found: Sequence[Headline]) -> str:
    """Bars of the ratios on a logarithmic scale, with intervals; 1 is as fast as the peer."""
    row, left, width, height = 22, 470, 900, 22 * len(found) + 40
    top = max([2.0, *(one.high for one in found)])
    bottom = min([1.0, *(one.low for one in found)]) / 1.1

    def at(ratio: float) -> float:
        return left + (width - left - 60) * math.log(ratio / bottom) / math.log(top / bottom)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tick in (tick for tick in (1, 2, 5, 10, 20, 50, 100) if bottom <= tick <= top):
        x, colour = f"{at(tick):.1f}", "#333" if tick == 1 else "#ddd"
        parts += [
            f'<line x1="{x}" x2="{x}" y1="4" y2="{height - 24}" stroke="{colour}"/>',
            f'<text x="{x}" y="{height - 8}" text-anchor="middle">{tick} x</text>',
        ]
    for index, one in enumerate(found):
        y = 8 + row * index
        begin, end = sorted((at(1.0), at(one.ratio)))
        colour = "#2f6db3" if one.ratio >= 1 else "#d98324"
        parts.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{one.work} / {one.peer}</text>'
            f'<rect x="{begin:.1f}" y="{y + 2}" width="{end - begin:.1f}" height="{row - 8}" fill="{colour}"/>'
            f'<line x1="{at(one.low):.1f}" x2="{at(one.high):.1f}" y1="{y + 9}" y2="{y + 9}" stroke="#111"/>'
            f'<text x="{max(end, at(one.high)) + 5:.1f}" y="{y + 13}">{one.ratio:.3g}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
