"""The box around a map's highest pixel."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.errors import ShapeError
from clipfast.surgery import peak_box
from reference import naive_components


def test_it_is_the_component_that_holds_the_first_highest_pixel() -> None:
    """By a flood fill, on maps with plateaus, in both precisions."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        heat = rng.integers(-5, 6, (9, 12)).astype(np.float32 if seed % 2 else np.float64)
        share = float(rng.uniform(0.05, 1))
        cut = heat.min() + share * (heat.max() - heat.min())
        known = naive_components.label(heat >= min(cut, heat.max()), 8)
        label = np.array(known.labels)[np.unravel_index(heat.argmax(), heat.shape)]
        found = peak_box(heat, share)

        assert found.xyxy.tolist() == [[float(side) for side in known.boxes[label - 1]]]
        assert found.scores.tolist() == [heat.max()]


def test_scale_and_shift_do_not_matter() -> None:
    """The cut moves with the range."""
    heat = np.random.default_rng(3).normal(size=(30, 20)).round(3)

    assert peak_box(4 * heat - 3).xyxy.tolist() == peak_box(heat).xyxy.tolist()
    assert peak_box(heat * 1e300, 0.9).xyxy.tolist() == peak_box(heat, 0.9).xyxy.tolist()  # nothing overflows


@pytest.mark.parametrize("value", [0.0, -2.5, 1e30])
def test_a_constant_map_has_none(value: float) -> None:
    """It says nothing about any place."""
    assert len(peak_box(np.full((5, 6), value, np.float32))) == 0


def test_what_is_no_map_or_share_is_refused() -> None:
    """As for other boxes."""
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ShapeError, match="share must be a number above 0"):
            peak_box(np.eye(3), share)
    with pytest.raises(ShapeError, match="finite"):
        peak_box(np.full((3, 3), np.nan))
    with pytest.raises(ShapeError, match=r"\(h, w\)"):
        peak_box(np.zeros(3))
