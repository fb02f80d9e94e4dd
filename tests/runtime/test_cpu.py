"""A CPU without int8 instructions works, is told what it lacks, and takes the exact path; others take the quick one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from clipfast.errors import ProviderError
from clipfast.runtime import cpu
from clipfast.runtime.cpu import has_int8_products, int8_shortcoming
from clipfast.runtime.request import check_request
from clipfast.runtime.session import _options


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("flags : avx2", "neither VNNI nor AVX-512"),
        ("flags : avx2 avx512f avx512bw", "no VNNI"),
        ("Features : fp asimd", "no int8 dot products"),
        ("flags : avx2 avx_vnni", None),
        ("Features : asimd asimddp", None),
        ("processor : 0", None),  # nobody says what it can
    ],
)
def test_what_a_cpu_lacks_is_named(flags: str, said: str | None) -> None:
    """And that int8 works all the same."""
    found = int8_shortcoming(f"processor : 0\n{flags}\n")

    assert (found is None) == (said is None)
    if said is not None and found is not None:
        assert said in found
        assert "int8 works on ONNX Runtime, with the same answers" in found


@pytest.mark.parametrize(("flags", "exact"), [("flags : avx512_vnni", False), ("flags : avx2", True), ("", True)])
def test_the_exact_path_is_asked_for_only_where_products_could_saturate(
    flags: str, exact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With VNNI it would take nearly twice the time; where nothing is known, exactness goes first."""
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    has_int8_products.cache_clear()
    entries: dict[str, str] = {}
    ort = SimpleNamespace(SessionOptions=lambda: SimpleNamespace(add_session_config_entry=entries.__setitem__))
    try:
        _options(ort, 1, "cpu")
    finally:
        has_int8_products.cache_clear()

    assert ("session.x64quantprecision" in entries) == exact


@pytest.mark.parametrize(
    ("flags", "refused"), [("flags : avx512_vnni", False), ("flags : avx2 avx512f", True), ("", False)]
)
def test_openvino_is_refused_where_its_int8_would_saturate(
    flags: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers were off by .02 in cosine, without a word; ONNX Runtime is asked for the exact path there."""
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    has_int8_products.cache_clear()
    try:
        check_request("cpu", 1, "int8")
        check_request("openvino", 1, "fp32")
        if refused:
            with pytest.raises(ProviderError, match=r"needs a CPU with VNNI.*provider='cpu'"):
                check_request("openvino", 1, "int8")
        else:
            check_request("openvino", 1, "int8")
    finally:
        has_int8_products.cache_clear()


@pytest.mark.parametrize("threads", [0, -1, 1.5, float("nan"), "2", True, 1 << 31, None])
def test_threads_are_a_number_that_can_be_started(threads: object) -> None:
    """20,000 were waited for more than a minute; others were told of by a binding, at the first image."""
    with pytest.raises(ProviderError, match="threads must be a whole number, 1 to "):
        check_request("cpu", threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["int4", "INT8", "", None])
def test_precisions_are_known_before_a_model_is_opened(precision: object) -> None:
    with pytest.raises(ProviderError, match="precision must be one of fp32, fp16, bf16, int8"):
        check_request("cpu", 1, precision)  # type: ignore[arg-type]
