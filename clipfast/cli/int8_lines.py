"""What became of int8, in words."""

from __future__ import annotations

from clipfast.artifact import Int8Figures, Int8Report

__all__ = ["int8_lines"]

_FIGURES = {
    "class_cosine": "class-token cosine",
    "worst_class_cosine": "smallest",
    "same_neighbour": "same neighbour",
    "zero_shot_loss": "zero-shot loss",
    "map_auroc_loss": "map AUROC loss",
}


def int8_lines(report: Int8Report) -> list[str]:
    """Say whether int8 was kept, with the gate's figures, and why not if it was not."""
    kept = f", {len(report.kept_fp32)} products kept in fp32" if report.kept_fp32 else ""
    head = (
        f"int8: gate passed, {report.int8_share:.0%} of the weights in int8{kept}"
        if report.passed
        else f"int8 REFUSED, everything else was made: {'; '.join(report.reasons)}"
    )
    judged = {
        "ONNX Runtime": report.figures,
        "OpenVINO": report.figures_openvino,
        "OpenVINO, bf16 for the rest": report.figures_bf16_rest,
    }
    lines = [
        f"int8 on {engine}, {figures.images} images ({report.calibration}): {_in_words(figures)}."
        for engine, figures in judged.items()
        if figures is not None
    ]
    if report.reasons_bf16_rest:
        lines.append(f"int8_rest='bf16' REFUSED: {'; '.join(report.reasons_bf16_rest)}.")
    return [f"{head}.", *lines]


def _in_words(figures: Int8Figures) -> str:
    return ", ".join(
        f"{what} {value:.4f}" for name, what in _FIGURES.items() if (value := getattr(figures, name)) is not None
    )
