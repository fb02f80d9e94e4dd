"""The journal: what was written is read, what was never finished is passed over, what was changed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipfast.errors import DataError
from clipfast.retrieval.crops import Region, Sidecar
from clipfast.retrieval.journal import Added, Event, Journal, Moved, Passed, Queued, QueueItem, Undone

WHEN = "2026-01-05T09:00:00+08:00"
DIGEST = "ab" * 32
ITEM = QueueItem(
    id="0" * 12, photo="../a.png", sha256=DIGEST, region=Region(coords=(3, 4)), confidence=0.4,
    answers=(("羊毛", 0.4), ("silk", 0.3)), picked="random",
)  # fmt: skip
EVENTS: tuple[Event, ...] = (
    Queued(n=1, when=WHEN, items=(ITEM,)),
    Added(n=2, when=WHEN, who="李", key="羊毛/patch_001.png", sha256=DIGEST, sidecar=Sidecar(who="李"), item=ITEM.id),
    Moved(
        n=3, when=WHEN, kind="rename", labels=("羊毛", "wool"), moves=(("羊毛/patch_001.png", "wool/patch_001.png"),)
    ),
    Undone(n=4, when=WHEN, of=3, moves=(("wool/1.png", "羊毛/1.png"),)),
    Passed(n=5, when=WHEN, item=ITEM.id),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of five events."""
    journal = Journal(tmp_path / "j" / "journal.jsonl")
    for event in EVENTS:
        journal.append(event)
    return journal.path


def test_what_was_written_is_read(path: Path) -> None:
    """By a reader who starts afresh, and by one who read the beginning before the rest was there."""
    assert tuple(Journal(path).read()) == EVENTS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    early = Journal(path)
    assert tuple(early.read()) == EVENTS[:2]
    path.write_bytes(b"".join(lines))
    assert tuple(early.read()) == EVENTS
    assert Journal(path.parent / "none.jsonl").read() == []


def test_a_line_that_was_never_finished_is_passed_over_and_cut_off(path: Path) -> None:
    """Whatever part of the last line there is; the next event follows on the whole ones."""
    whole = path.read_bytes()
    before = whole[: whole[:-1].rindex(b"\n") + 1]
    for end in range(len(before), len(whole)):
        path.write_bytes(whole[:end])
        journal = Journal(path)
        assert tuple(journal.read()) == EVENTS[:4]
        assert journal.torn == whole[len(before) : end]
        journal.append(EVENTS[4])
        assert path.read_bytes() == whole


def test_blocks_of_zeros_after_a_loss_of_power_are_cut_off(path: Path) -> None:
    """The file had grown, its content had not come to the disk."""
    whole = path.read_bytes()
    for rest in (b"\0" * 300, b"\0" * 40 + b"\n", b'{"sum":"' + b"\0" * 90 + b'"}\n', b'{"sum":\0\0\0\n\0\0'):
        path.write_bytes(whole + rest)
        journal = Journal(path)
        assert tuple(journal.read()) == EVENTS
        journal.append(Passed(n=6, when=WHEN, item="1" * 12))
        assert len(Journal(path).read()) == 6


def test_every_changed_byte_is_noticed(path: Path) -> None:
    """Of the middle line an error with its number; the last line is refused too where it is still one."""
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    begin = len(lines[0])
    for at in range(begin, begin + len(lines[1]), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"line 2 (was changed|is whole)"):
            Journal(path).read()
    path.write_bytes(whole.replace(b'"item":"000', b'"item":"100'))
    with pytest.raises(DataError, match=r"was changed after it was written"):
        Journal(path).read()
    path.write_bytes(b"".join([*lines[:4], lines[4].replace(b"000", b"100")]))
    with pytest.raises(DataError, match=r"line 5 was changed"):
        Journal(path).read()


@pytest.mark.parametrize("order", [(0, 2, 3, 4), (1, 0, 2, 3, 4), (0, 1, 1, 2, 3, 4), (1, 2, 3, 4)])
def test_lines_taken_out_put_elsewhere_or_doubled_are_noticed(path: Path, order: tuple[int, ...]) -> None:
    """Each sum holds the one before."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[at] for at in order))
    with pytest.raises(DataError, match=r"its checksum does not match\. Put a copy of the file back"):
        Journal(path).read()


def test_an_event_of_a_later_version_is_told_from_damage(path: Path) -> None:
    """Its sum is right, so it is not changed: clipfast is too old."""
    import hashlib

    last = json.loads(path.read_bytes().splitlines()[-1])["sum"]
    body = b'{"op":"paint","n":6,"when":"now"}'
    total = hashlib.sha256(last.encode() + body).hexdigest()[:16]
    with path.open("ab") as file:
        file.write(b'{"sum":"' + total.encode() + b'","event":' + body + b"}\n")
    with pytest.raises(DataError, match=r"line 6 is whole, but this clipfast does not know it .*Update clipfast"):
        Journal(path).read()


def test_what_could_not_be_read_back_is_not_written(path: Path) -> None:
    """A confidence above 1, or half of a surrogate pair, would make the whole journal unreadable."""
    whole, journal = path.read_bytes(), Journal(path)
    journal.read()
    for sidecar, who in ((Sidecar(confidence=1.5), None), (Sidecar(), "\ud800")):
        with pytest.raises(DataError, match="Nothing was written"):
            journal.append(Added(n=6, when=WHEN, who=who, key="a/b.png", sha256=DIGEST, sidecar=sidecar))
    assert path.read_bytes() == whole
