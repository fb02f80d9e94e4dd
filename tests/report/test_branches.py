"""The report on two branches: counts, gaps and sentences that follow from the figures, and nothing else."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from clipfast.anomaly.grid.records import GridResults, LevelResult
from clipfast.errors import ArtifactError, DataError
from clipfast.report.branch_rows import branch_rows, weak_shares
from clipfast.report.branch_sentences import mode_sentences
from clipfast.report.branch_sentences import test_sentence as sentence
from clipfast.report.branch_tests import class_tests, mode_tests
from clipfast.report.branches import write_branch_report
from reference.branch_cases import LABELS, figures, level, results


def _grid(
    pixel_text: float = 0.6, *, dataset: str = "made", scores: dict[str, tuple[float, ...]] | None = None
) -> GridResults:
    """Ten classes, shots 1 and 2, two seeds; the text branch is the better one of images, by a little."""
    cells = {}
    for number in range(10):
        for shots in (1, 2):
            for seed in (0, 1):
                image = level(0.9, 0.8 + 0.01 * seed, pixel=False)
                cells[f"class{number}", shots, seed] = (image, level(pixel_text + 0.01 * number, 0.95, pixel=True))
    return results(cells, dataset=dataset, scores=scores)


def test_rows_hold_mean_and_deviation_over_seeds() -> None:
    """Gap and gain are apart; the weaker branch is named; keys are the owner's, in per cent."""
    first = branch_rows(_grid(), "auto")[0]

    assert (first.class_name, first.shots, first.task) == ("class0", 1, "cls")
    assert first.memory.mean == pytest.approx(0.805)
    assert first.memory.std == pytest.approx(0.00707, abs=1e-5)
    assert first.branch_gap == pytest.approx(0.095)
    assert first.fusion_gain == pytest.approx(-0.095)
    assert (first.weaker, first.best_mode) == ("memory", "semantic")
    assert first.owner_keys() == pytest.approx(
        {"i_roc": 80.5, "i_roc_semantic": 90.0, "i_roc_memory": 80.5, "gap": 9.5}
    )


def test_weak_shares_count_rows_and_classes() -> None:
    """Texts are never weaker on images, always on pixels."""
    shares = {(share.task, share.by): share for share in weak_shares(branch_rows(_grid(), "auto"))}

    assert [(s.semantic_weak, s.memory_weak, s.rows, s.classes_semantic_weak) for s in shares.values()] == [
        *[(0, 20, 20, 0)] * 3,
        *[(20, 0, 20, 10)] * 3,
    ]
    assert shares["seg", "all"].gap == pytest.approx(0.95 - 0.645)


def test_sentences_follow_the_tests() -> None:
    """A large difference is stated with its direction, no difference is never called one, nor is one class tested."""
    found = {test.name: test for test in class_tests(branch_rows(_grid(), "auto"), "auto", seed=0)}
    equal = class_tests(branch_rows(_grid(pixel_text=0.915), "auto"), "auto", seed=0)
    alone = results({("only", 1, 0): (level(0.9, 0.8, pixel=False), None)})

    ahead = found["memory - semantic, seg"]
    assert ahead.p_value == pytest.approx(2 / 1024)  # all ten signs agree
    assert "is higher than" in sentence(ahead)
    assert "pixels" in sentence(ahead)
    assert "is lower than" in sentence(found["memory - semantic, cls"])
    assert "No difference is shown" in sentence(next(t for t in equal if t.name == "memory - semantic, seg"))
    assert "nothing can be tested with 1 class" in sentence(class_tests(branch_rows(alone, "auto"), "auto", seed=0)[0])


@pytest.mark.parametrize("classes", [5, 6, 7, 8])
def test_what_no_outcome_could_show_is_said(classes: int) -> None:
    """All signs agree: m tests cannot reach 0.05 where m x 2^(1 - n) is above it; what is equal is no test."""
    rising = [0.01 * i for i in range(classes)]
    levels = [(level(0.9 + i, 0.8, pixel=False), level(0.6 + i, 0.95, pixel=True)) for i in rising]
    grid = results({(f"class{i}", 1, 0): both for i, both in enumerate(levels)})
    tests = class_tests(branch_rows(grid, "auto"), "auto", seed=0)
    differing = [test for test in tests if test.differing]

    assert [test.name for test in tests if not test.differing] == [
        "auto - memory, cls",
        "auto - memory, seg",
        "auto - better branch, seg",
    ]
    assert len(differing) == 4
    for test in differing[:3]:
        assert test.p_holm == pytest.approx(4 * 2.0 ** (1 - classes))
        assert ("cannot reach significance" in sentence(test)) == (4 * 2.0 ** (1 - classes) > 0.05)
    assert all("are the same in each" in sentence(test) for test in tests if not test.differing)
    modes = " ".join(mode_sentences(mode_tests([grid], seed=0)))
    assert "On images the same as the memory alone: auto." in modes
    assert (f"{classes} classes cannot show a difference" in modes) == (4 * 2.0 ** (1 - classes) > 0.05)


def test_the_oracle_costs_the_other_modes_nothing() -> None:
    """It is above both branches by construction: beside it the others' adjusted values are as without it."""
    plain = _grid()

    def bounded(found: LevelResult) -> LevelResult:
        return msgspec.structs.replace(found, modes=found.modes | {"oracle": figures(0.999)})

    both = [(cell.image, cell.pixel) for cell in plain.cells]
    keys = [(cell.class_name, cell.shots, cell.seed) for cell in plain.cells]
    pairs = {key: (bounded(image), bounded(pixel)) for key, (image, pixel) in zip(keys, both, strict=True)}  # type: ignore[arg-type]  # pairs by strategy
    with_oracle = {(each.task, each.mode): each.test for each in mode_tests([results(pairs)], seed=0)}
    without = {(each.task, each.mode): each.test for each in mode_tests([plain], seed=0)}

    assert set(with_oracle) - set(without) == {("cls", "oracle"), ("seg", "oracle")}
    assert all(with_oracle[key] == test for key, test in without.items())
    assert with_oracle["cls", "oracle"].p_holm is None
    assert with_oracle["cls", "oracle"].difference > 0


def test_the_report_writes_what_it_found(tmp_path: Path) -> None:
    """Markdown, JSON and charts that parse; equal results give equal bytes."""
    scores = {
        "auto": tuple(0.1 * at for at in range(8)),
        "memory": tuple(0.1 * at for at in range(8)),
        "semantic": tuple(1.0 - 0.1 * label for label in LABELS),
    }
    grid = _grid(scores=scores)
    files = write_branch_report(grid, tmp_path / "a")
    again = write_branch_report(grid, tmp_path / "b")

    assert [path.name for path in files] == [
        "branch_report.md", "branch_report.json", "branches_cls.svg", "modes_cls.svg", "branches_seg.svg",
        "modes_seg.svg", "weak_shares.svg",
    ]  # fmt: skip
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    for path in files[2:]:
        chart = ET.parse(path).getroot()  # noqa: S314  (our own file)
        assert chart.tag.endswith("svg")
        head = [one for one in chart if one.get("y") == "17.0" and one.get("text-anchor") == "start"]
        starts = sorted((float(one.get("x", 0)), len(one.text or "")) for one in head)
        assert all(x + 7 * letters < right for (x, letters), (right, _) in pairwise(starts))  # no word on another
    report = files[0].read_text(encoding="utf-8")
    for wanted in ("| SEG | 20/20 (100.0 %) |", "## The 10 largest gaps", "i_roc_semantic", "The approximation is off"):
        assert wanted in report
    row = json.loads(files[1].read_text(encoding="utf-8"))["rows"][0]
    assert row["owner_keys"]["gap"] == pytest.approx(9.5)
    assert row["intervals_over_images"]["memory_less_semantic"][0] == pytest.approx(1.0)  # memory 1, texts 0


def test_a_grid_without_texts_or_figures_says_so(tmp_path: Path) -> None:
    """No text branch: no shares, no chart; a class without anomalous images is listed with the reason."""
    cells = {
        ("a", 1, 0): (level(None, 0.8, pixel=False), None),
        ("b", 1, 0): (level(None, 0.8, pixel=False, undefined="no image is anomalous"), None),
    }
    files = write_branch_report(results(cells), tmp_path)
    report = files[0].read_text(encoding="utf-8")

    assert [path.name for path in files] == ["branch_report.md", "branch_report.json", "modes_cls.svg"]
    assert "made b: no image is anomalous" in report
    assert "the text branch did not run" in report


def test_several_data_sets_and_bad_input(tmp_path: Path) -> None:
    """Shares are given by data set; one twice, none, or an unknown mode is refused; so are damaged timings."""
    grids = [_grid(), _grid(dataset="other")]
    report = write_branch_report(grids, tmp_path)[0].read_text(encoding="utf-8")

    assert "| SEG | dataset | other | 20/20" in report
    cases: list[tuple[list[GridResults], str, str]] = [
        ([], "auto", "got none"),
        ([grids[0]] * 2, "auto", "different"),
        (grids, "x", "fused"),
    ]
    for bad, mode, says in cases:
        with pytest.raises(DataError, match=says):
            write_branch_report(bad, tmp_path, fused=mode)
    (tmp_path / "timings.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no timings"):
        write_branch_report(grids, tmp_path)
