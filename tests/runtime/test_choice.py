"""Without a named provider the precision decides, the choice is visible, and nothing is chosen that may crash."""

from __future__ import annotations

import logging

import pytest

from clipfast.errors import ProviderError
from clipfast.runtime import choice
from clipfast.runtime.choice import choose_provider, openvino_hint
from clipfast.runtime.clip import Clip


@pytest.mark.parametrize(
    ("installed", "precision", "expected"),
    [
        ("2026.4.1", "fp32", "cpu"),  # a package must not change fp32 answers
        ("2026.4.1", "int8", "openvino"),
        ("2026.1.0", "int8", "cpu"),  # of the versions that end the process on some CPUs
        (None, "int8", "cpu"),
        (None, "bf16", "openvino"),  # nothing else computes it: an error later, with the pip line
        ("2026.4.1", "fp16", "cpu"),
    ],
)
def test_the_precision_decides(
    installed: str | None, precision: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed matters for int8 alone."""
    monkeypatch.setattr(choice, "openvino_version", lambda: installed)
    monkeypatch.setattr(choice, "has_int8_products", lambda: True)

    assert choose_provider(None, precision).name == expected


@pytest.mark.parametrize("known", [False, None])
def test_without_int8_products_int8_stays_where_it_is_exact(
    known: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's sums in 16 bits overflow without VNNI; nothing is said, for another package would not help."""
    monkeypatch.setattr(choice, "openvino_version", lambda: "2026.4.1")
    monkeypatch.setattr(choice, "has_int8_products", lambda: known)

    assert choose_provider(None, "int8").name == "cpu"
    assert openvino_hint(None, "int8") is None


def test_a_named_provider_is_never_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not for a faster one, and without a word about it."""
    monkeypatch.setattr(choice, "openvino_version", lambda: "2026.4.1")

    assert choose_provider("cpu", "int8").name == "cpu"
    assert openvino_hint("cpu", "int8") is None
    with pytest.raises(ProviderError, match="provider must be one of cpu, openvino"):
        choose_provider("gpu", "int8")


@pytest.mark.parametrize(
    ("installed", "said"), [(None, "openvino is not installed"), ("2025.4.0", "openvino 2025.4.0 is too old")]
)
def test_slower_int8_says_why(installed: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that changes it."""
    monkeypatch.setattr(choice, "openvino_version", lambda: installed)
    monkeypatch.setattr(choice, "has_int8_products", lambda: True)

    hint = openvino_hint(None, "int8")

    assert hint is not None
    assert said in hint
    assert "pip install --upgrade 'clipfast[openvino]'" in hint
    assert openvino_hint(None, "fp32") is None


def test_what_was_chosen_is_on_the_clip(caplog: pytest.LogCaptureFixture) -> None:
    """fp32 runs on ONNX Runtime, and bf16 on OpenVINO, without naming them."""
    with caplog.at_level(logging.WARNING, logger="clipfast"):
        assert Clip.load("mini").provider == "cpu"
        assert Clip.load("mini", precision="bf16").provider == "openvino"
    assert not caplog.records
