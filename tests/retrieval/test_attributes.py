"""Attributes: known answers on drawn pictures, fabrics that must be told apart, ranges, and bad input."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.datasets.fabricworld import COLOURS, render
from clipfast.errors import DataError
from clipfast.retrieval.attributes import CHOICES, SCORES, extract_attributes, visual_attributes
from clipfast.retrieval.colours import COLOUR_NAMES, dominant_colour, oklab
from clipfast.types import Pixels


def plain(rgb: tuple[int, int, int]) -> Pixels:
    """One colour."""
    return np.full((64, 64, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("linear", "lab"),
    [  # published on the method's page, for XYZ white and the sRGB primaries
        ((1, 1, 1), (1, 0, 0)),
        ((1, 0, 0), (0.627955, 0.224863, 0.125846)),
        ((0, 1, 0), (0.866440, -0.233888, 0.179498)),
        ((0, 0, 1), (0.452014, -0.032457, -0.311528)),
    ],
)
def test_oklab_of_the_primaries(linear: tuple[float, ...], lab: tuple[float, ...]) -> None:
    """Known values."""
    np.testing.assert_allclose(oklab(np.array(linear, float)), lab, atol=1e-5)


@pytest.mark.parametrize("name", COLOURS)
def test_each_named_colour_is_called_so(name: str) -> None:
    """Plain cloth in the table's colour, in English and in Chinese."""
    found = extract_attributes(plain(COLOURS[name].rgb))
    assert found.dominant_color_name == name
    assert found.dominant_color_zh == COLOURS[name].zh == COLOUR_NAMES[name]
    assert found.dominant_share == 1.0
    assert np.abs(np.subtract(found.dominant_rgb, COLOURS[name].rgb)).max() <= 1


def test_the_colour_of_checks_on_white_is_the_checks() -> None:
    """White counts half, so red and white cloth is red."""
    pixels = plain((236, 234, 228))
    pixels[:, :26] = (200, 28, 32)
    assert dominant_colour(pixels).name == "red"


def test_colours_of_rendered_cloth_are_mostly_right() -> None:
    """Plain-coloured fabrics in all twelve colours."""
    right = Counter(
        extract_attributes(render(40 + at, fabric=fabric, colour=colour).image).dominant_color_name == colour
        for fabric in ("felt", "canvas", "leather")
        for at, colour in enumerate(COLOURS)
    )
    assert right[True] >= 33


@pytest.mark.parametrize(
    ("fabric", "pattern"),
    [("stripes", "stripes"), ("gingham", "checks"), ("polka dots", "motif"), ("felt", "plain"), ("canvas", "plain")],
)
def test_patterns_are_told(fabric: str, pattern: str) -> None:
    """Three of four pieces or more."""
    found = [
        extract_attributes(render(60 + at, fabric=fabric, colour=colour).image).pattern
        for at, colour in enumerate(("red", "blue", "green", "purple"))
    ]
    assert found.count(pattern) >= 3  # type: ignore[arg-type]  # the table holds plain strings


def mean_of(attribute: str, fabric: str) -> float:
    """Return the mean of an attribute over six pieces."""
    pieces = [render(80 + at, fabric=fabric, colour=colour).image for at, colour in enumerate(list(COLOURS)[:6])]
    return float(np.mean([getattr(extract_attributes(piece), attribute) for piece in pieces]))


@pytest.mark.parametrize(
    ("attribute", "more", "less"),
    [
        ("sheen_score", "satin", "tweed"),
        ("sheen_score", "velvet", "burlap"),
        ("texture_complexity", "tweed", "satin"),
        ("texture_complexity", "plain weave", "chiffon"),
        ("directionality", "corduroy", "canvas"),
        ("directionality", "stripes", "gingham"),
    ],
)
def test_fabrics_are_ordered_by_their_attributes(attribute: str, more: str, less: str) -> None:
    """By a clear distance."""
    assert mean_of(attribute, more) > mean_of(attribute, less) + 0.15


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 150])
def test_the_direction_is_that_of_the_lines(degrees: int) -> None:
    """Drawn lines at a known angle, anticlockwise from the horizontal."""
    y, x = np.mgrid[0:224, 0:224]
    across = x * np.sin(np.radians(degrees)) + y * np.cos(np.radians(degrees))
    grey = (127 + 100 * np.sin(across / 3)).astype(np.uint8)
    found = extract_attributes(np.repeat(grey[..., None], 3, axis=2))
    assert found.directionality > 0.95
    assert abs((found.direction_degrees - degrees + 90) % 180 - 90) < 2


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(40, 90), (300, 200), (64, 64)]))
def test_every_score_is_in_range(seed: int, size: tuple[int, int]) -> None:
    """For noise of any size too."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = extract_attributes(pixels)
    assert all(0 <= getattr(found, name) <= 1 for name in (*SCORES, "dominant_share"))
    assert 0 <= found.direction_degrees < 180
    assert all(getattr(found, name) in words for name, words in CHOICES.items())


def test_a_plain_picture_has_no_texture_and_no_direction() -> None:
    """Zero, not NaN; also in black."""
    for rgb in ((0, 0, 0), (255, 255, 255), (120, 30, 60)):
        found = extract_attributes(plain(rgb))
        assert (found.sheen_score, found.texture_complexity, found.directionality) == (0, 0, 0)
        assert found.pattern == "plain"
        assert found.pattern_zh == "素色"


def test_the_dictionary_is_the_form_of_the_source_document() -> None:
    """Under "visual"; with and without that level, and from the object, the same is read."""
    found = extract_attributes(Image.fromarray(render(5, fabric="denim", colour="blue").image))
    whole = found.as_dict()
    assert whole["visual"]["dominant_color_name"] == "blue"
    assert visual_attributes(found) == visual_attributes(whole) == visual_attributes(whole["visual"])
    assert visual_attributes({"visual": {"sheen_score": 0.6, "silhouette": "A-line"}}) == {"sheen_score": 0.6}


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"visual": {"sheen_score": 1.2}}, r"sheen_score must be a number in \[0, 1\]; got 1.2"),
        ({"visual": {"sheen_score": "high"}}, "must be a number"),
        ({"texture_complexity": True}, "must be a number"),
        ({"visual": {"dominant_color_name": "blau"}}, "one of red, orange"),
        ({"visual": {"length": "midi"}}, "attrs must hold one of sheen_score.*; got length"),
        ({}, "got none"),
        ({"visual": 3}, "must be a dict"),
        (3, "must be a dict"),
    ],
)
def test_bad_attributes_are_named(attrs: Any, words: str) -> None:
    """What must be, and what came."""
    with pytest.raises(DataError, match=words):
        visual_attributes(attrs)
