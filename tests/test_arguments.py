"""Checks of what callers pass: each says what must be, what came, and what to do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.arguments import (
    Span,
    require_array,
    require_known,
    require_names,
    require_number,
    require_numbers,
    require_path,
    require_size_hw,
    require_type,
    require_whole,
    shown,
)
from clipfast.errors import DataError, ShapeError

SHARE = Span(0, 1)
ABOVE = Span(0, above=True)
WHOLE = Span(1, whole=True)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (SHARE, (0, 1, 0.5, np.float32(0.25), np.int64(1)), (-0.1, 1.5, math.nan, "0.5", None, True, [0.5], np.eye(1))),
        (ABOVE, (1e-300, 10**300, 3), (0, 0.0, -1, math.inf, 10**400, "1")),  # what no float can hold is not finite
        (WHOLE, (1, 10**400, np.uint8(7)), (0, 1.0, np.float64(2), True, "1", math.nan)),
        (Span(), (-1e308, 0), (math.inf, -math.inf, math.nan, None)),
    ],
)
def test_spans_hold_finite_numbers_of_their_kind(span: Span, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    """Ends belong to a span unless it says `above`; True is no number."""
    assert [span.holds(value) for value in inside] == [True] * len(inside)
    assert [span.holds(value) for value in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (SHARE, "a number from 0 to 1"),
        (ABOVE, "a number above 0"),
        (Span(0, 10, above=True), "a number above 0 and at most 10"),
        (Span(1, 1_000_000, whole=True), "a whole number from 1 to 1000000"),
        (Span(0.5), "a number of 0.5 or more"),
        (Span(most=3), "a number of 3 or less"),
        (Span(), "a finite number"),
        (Span(whole=True), "a whole number"),
    ],
)
def test_spans_in_words(span: Span, words: str) -> None:
    """As an error says them."""
    assert span.says() == words


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: require_number("alpha", "x", SHARE), "alpha must be a number from 0 to 1; got 'x'. Pass such"),
        (lambda: require_whole("side", 1.5, 1), "side must be a whole number of 1 or more; got 1.5. Pass such"),
        (lambda: require_numbers("scales", 2, Span(1, 32)), r"list of numbers from 1 to 32; got 2. Write \(2,\)"),
        (lambda: require_numbers("scales", "1,2", Span(1, 32)), "got '1,2'. Pass such numbers"),
        (lambda: require_numbers("scales", (1, 40), Span(1, 32)), r"got \(1, 40\)"),
        (lambda: require_numbers("least", (1, 2, 3), Span(0), count=2), r"must be 2 numbers of 0 or more; got \(1, 2"),
        (lambda: require_numbers("least", 5, Span(0), count=2), "got 5. Pass such numbers"),  # (5,) would not do
        (lambda: require_numbers("depths", (2, 2), WHOLE, once=True), "depths must be different numbers"),
        (lambda: require_array("maps", [[1.0]], "(h, w)"), r"maps must be an array \(h, w\); got \[\[1.0\]\]"),
        (lambda: require_size_hw("size_hw", 5), r"two whole numbers \(height, width\), positive; got 5"),
    ],
)
def test_wrong_numbers_are_told(call: Any, message: str) -> None:
    """By the name of the argument."""
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: require_known("score", "max", ("mean", "contrast")), "one of mean, contrast; got 'max'"),
        (lambda: require_known("connectivity", [8], (4, 8)), r"one of 4, 8; got \[8\]"),
        (lambda: require_known("score", np.array(["mean"]), ("mean",)), "got an array"),
        (lambda: require_names("labels", "lace"), r"got the text 'lace'. Write \['lace'\]"),
        (lambda: require_names("labels", 3), "labels must be a list of names; got 3"),
        (lambda: require_names("labels", ["a", 3]), r"got \['a', 3\]"),
        (lambda: require_names("labels", ["a", "a"], once=True), "got 'a' twice"),
        (lambda: require_names("labels", ["c"], "ab", kind="label"), "label must be one of a, b; got 'c'"),
        (lambda: require_type("windows", 224, Span, "Span(0, 1)"), r"must be Span; got 224. Write Span\(0, 1\)"),
        (lambda: require_path("folder", None), "folder must be a path; got None"),
        (lambda: require_path("folder", b"data"), "got b'data'"),
    ],
)
def test_wrong_names_and_objects_are_told(call: Any, message: str) -> None:
    """What is known, or how it is written."""
    with pytest.raises(DataError, match=message):
        call()


def test_what_is_right_comes_back() -> None:
    """As plain values."""
    assert require_number("alpha", np.float32(0.5), SHARE) == 0.5
    assert type(require_whole("side", np.int32(3), 1)) is int
    assert require_numbers("scales", np.array([1.0, 2.0]), Span(1)) == (1.0, 2.0)
    assert require_numbers("scales", (), Span(1)) == ()
    assert require_known("connectivity", np.int64(8), (4, 8)) == 8
    assert require_path("folder", Path("data")) == Path("data")
    assert require_names("labels", ("a", "b"), once=True) == ("a", "b")


def test_values_are_shown_in_one_short_line() -> None:
    """Whatever came."""
    assert shown("a\nb" * 100).startswith(r"'a\nba\nb")
    assert len(shown([0.123456789] * 1000)) == 80
    assert shown(np.array([[1, 2]], np.uint8)) == "an array (1, 2) of uint8"
