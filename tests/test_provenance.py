"""Provenance says what a result was made with, and no more."""

from __future__ import annotations

import getpass
import json
import platform
import sys

import pytest

from clipfast.provenance import Provenance, digest, machine, versions


def test_it_holds_what_decides_a_figure() -> None:
    """Versions, seeds, data, model and machine, as plain JSON."""
    held = Provenance.collect(command=["clipfast", "localize", "x"], seeds={"bootstrap": 3}, data={"samples": "ab"})
    plain = json.loads(json.dumps(held.as_json()))

    assert plain["command"] == ["clipfast", "localize", "x"]
    assert plain["seeds"] == {"bootstrap": 3}
    assert plain["data"] == {"samples": "ab"}
    assert plain["model"] == {}
    assert plain["versions"]["python"] == platform.python_version()
    assert plain["versions"]["numpy"]
    assert "torch" not in plain["versions"]
    assert plain["machine"]["cores"] >= 1


def test_it_holds_no_name_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's folder is not what the user typed; host and user names are nobody's business."""
    monkeypatch.setattr(sys, "argv", ["/opt/secret/bin/clipfast", "localize", "data"])
    held = json.dumps(Provenance.collect().as_json())

    assert '"command": ["clipfast", "localize", "data"]' in held
    assert "secret" not in held
    assert f'"{getpass.getuser()}"' not in held
    assert platform.node() not in held
    assert set(machine()) == {"system", "architecture", "processor", "cores"}
    assert list(versions())[:2] == ["python", "clipfast"]


def test_a_digest_tells_parts_apart() -> None:
    """Texts and bytes, each with its length; the same parts give the same digest."""
    assert digest(["ab", "c"]) == digest([b"ab", "c"])
    assert len({digest(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "c", ""])}) == 4
