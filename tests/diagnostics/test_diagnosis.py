"""The whole diagnosis: what it says, and what it says it cannot say."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.diagnostics import Boxes, DiagnoseOptions, Predictions, diagnose
from clipfast.diagnostics.checklist import checklist
from clipfast.errors import DataError
from clipfast.report.diagnosis import DiagnosisReport, summary_sentences
from diagnostics.samples import clustered


def _bare(labels: list[int], said: list[int]) -> Predictions:
    probs = np.full((len(labels), 3), 0.1)
    probs[np.arange(len(said)), said] = 0.8
    return Predictions(tuple(map(str, range(len(labels)))), ("a", "b", "c"), np.array(labels), probs)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (_bare([0, 1, 2], [0, 1, 1]), "Only 3 samples are judged"),
        (_bare([0] * 40, [0] * 40), "Every judged sample is right"),
        (_bare([0] * 40, [1] * 40), "Every judged sample is wrong"),
        (_bare([0], [1]), "Only 1 sample is judged"),
        (_bare([0, 1] * 30, [0, 1] * 28 + [1, 0] * 2), "Only 4 samples are wrong"),
    ],
)
def test_poor_data_give_a_report_that_says_so(data: Predictions, sentence: str, tmp_path: Path) -> None:
    """Few samples, all right, all wrong: a useful sentence, and a whole report."""
    found = diagnose(data)

    assert sentence in " ".join(summary_sentences(found))
    paths = DiagnosisReport("t", found, data).save(tmp_path)
    assert all(path.stat().st_size > 0 for path in paths[:3])


def test_only_training_samples(tmp_path: Path) -> None:
    """They are judged then, with a warning."""
    data = _bare([0, 1, 2] * 20, [0, 1, 1] * 20)
    found = diagnose(replace(data, columns={"split": np.array(["train"] * 60)}))

    assert found.judged == 60
    assert found.train_accuracy is None
    assert any("All samples are of the training split" in line for line in found.warnings)


def test_unknown_groups_and_nothing_at_all() -> None:
    """Named with the known ones."""
    with pytest.raises(DataError, match="a group must be one of class; got 'colour'"):
        diagnose(_bare([0, 1], [0, 1]), DiagnoseOptions(group_by=("colour",)))
    with pytest.raises(DataError, match="one sample at least"):
        diagnose(_bare([0], [1]).select(np.array([], np.int64)))


def test_every_box_of_the_checklist_has_an_answer() -> None:
    """From bare probabilities most are open, with the missing field; from full data none of those with data is."""
    bare = checklist(diagnose(_bare([0, 1, 2] * 20, [0, 1, 1] * 20)))
    full = checklist(diagnose(_full()))

    assert all(item.says for item in (*bare, *full))
    lacking = [item.says for item in bare if item.answer == "open"]
    assert any("attention" in line for line in lacking)
    assert any("split" in line for line in lacking)
    assert {item.question for item in full if item.answer == "open"} == {
        "2. Are 20 % or more of the wrong samples mismatched, when people look?",
        "Mismatch above 20 %: clean the data?",
    }


def _full() -> Predictions:
    """Data with every field."""
    data = clustered(300, noise=0.3)
    count = len(data)
    rng = np.random.default_rng(0)
    maps = rng.random((count, 4, 4)).astype(np.float32) + 0.01
    maps[:, 0, 0] = 3
    columns = dict(data.columns)
    columns["domain"] = np.where(np.arange(count) % 7 == 0, "new", "old")
    columns["template"] = np.where(np.arange(count) % 2 == 0, "t0", "t1")
    return replace(
        data,
        columns=columns,
        images=tuple(f"{i}.png" for i in range(count)),
        losses=rng.random((count, 3)),
        attention=maps,
        boxes=Boxes(np.tile([0.0, 0, 0.5, 0.5], (count, 1)), np.arange(count)),
        choices=np.zeros((count, 2), np.int64),
        candidates=Boxes(np.tile([0.0, 0, 0.5, 0.5], (count, 1)), np.arange(count)),
        image_only=data.probs,
        text_only=np.full_like(data.probs, 1 / 8),
        no_context=data.probs,
        text_rows=data.image_rows,
    )


class _Tags(HTMLParser):
    """What a browser would see: elements, what they fetch, and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.texts: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.texts.add(data.strip())


def test_the_report_is_whole_and_safe(tmp_path: Path) -> None:
    """Markup in names is escaped, nothing is fetched, pictures are inside, figures are in the JSON, wrong lines too."""
    data = replace(_full(), classes=("<script>alert(1)</script>", *[f"c{i}" for i in range(7)]))
    for i in range(len(data)):
        Image.new("RGB", (40, 30), (i % 255, 0, 0)).save(tmp_path / f"{i}.png")
    found = diagnose(data)
    assert found.triage.raised
    paths = DiagnosisReport("A & B", found, data, tmp_path).save(tmp_path / "out")
    page, text = paths[0].read_text(encoding="utf-8"), paths[1].read_text(encoding="utf-8")
    plain = json.loads(paths[2].read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in paths[3].read_text(encoding="utf-8").splitlines()]

    seen = _Tags()
    seen.feed(page)
    assert "script" not in seen.tags
    assert {"html", "svg", "img", "table"} <= seen.tags
    assert all(link.startswith("data:") for link in seen.links)
    assert "<script>alert(1)</script>" in seen.texts
    assert "A & B" in seen.texts
    assert "data:image/jpeg;base64," in page
    assert page.count("<svg") >= 4
    assert "## Checklist" in text
    assert plain["named"] == [finding.cause for finding in found.triage.raised]
    assert plain["accuracy"]["estimate"] == found.accuracy.estimate
    assert len(plain["checklist"]) == len(checklist(found))
    assert len(lines) == found.wrong
    assert {line["cause"] for line in lines} <= {*[f.cause for f in found.triage.findings], "cannot tell"}
    assert lines[0]["features"]["attention_entropy"] > 0


def test_a_missing_picture_leaves_its_line(tmp_path: Path) -> None:
    """The example is named without a picture."""
    data = _full()
    found = diagnose(data)
    page = DiagnosisReport("t", found, data, tmp_path).page().text()

    assert "<img" not in page
    assert found.triage.raised[0].examples[0] in page


def test_a_gap_that_other_causes_explain_is_not_called_generalisation() -> None:
    """Wrong labels in new samples alone make a gap, which the checklist does not blame on the new samples' kind."""
    clean = clustered(600)
    labels = clean.labels.copy()
    labels[300::3] = (labels[300::3] + 4) % 8
    found = diagnose(replace(clean, labels=labels))
    said = {item.question: item for item in checklist(found)}

    assert [finding.cause for finding in found.triage.raised] == ["noise"]
    assert said["3. Is it good on training samples and worse on new ones?"].answer == "yes"
    rule = said["Good in training, bad on new data: pretrain or augment?"]
    assert rule.answer == "no"
    assert "few of the wrong ones are unlike the training data" in rule.says
    blind = diagnose(replace(clean, labels=labels, image_rows=None))
    assert {item.question: item.answer for item in checklist(blind)}[rule.question] == "yes"


def test_few_samples_settle_nothing_about_parts() -> None:
    """Equal answers on three samples do not say that a part is needless; on three hundred they do."""
    question = "Does image or text alone do as well as both?"
    for count, answer in ((6, "open"), (600, "yes")):
        data = clustered(count)
        found = diagnose(replace(data, image_only=data.probs))
        assert {item.question: item.answer for item in checklist(found)}[question] == answer


def test_progress_reaches_its_end() -> None:
    """Steps rise to the total."""
    seen: list[tuple[int, int]] = []
    diagnose(clustered(100), progress=lambda done, total: seen.append((done, total)))

    assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))


def test_the_same_seed_gives_the_same_diagnosis() -> None:
    """To the last figure."""
    first, second = (DiagnosisReport("t", diagnose(data), data).json() for data in (clustered(200), clustered(200)))

    assert first == second


def test_the_worst_are_shown_where_no_cause_is_named(tmp_path: Path) -> None:
    """With what they are, in both reports; plots lie beside the Markdown, and each of them exists."""
    data = replace(_bare([0, 1, 2] * 20, [0, 1, 2] * 18 + [0, 2, 2, 0, 2, 1]), texts=("图中的纽扣是什么颜色",) * 60)
    found = diagnose(data)
    DiagnosisReport("t", found, data).save(tmp_path)
    page, text = ((tmp_path / f"diagnosis.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))

    assert not found.triage.raised
    for written in (page, text):
        assert "Worst examples" in written
        assert "59: 图中的纽扣是什么颜色 label c, said b" in written
        assert "Calibration" in written
    plots = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(plots) >= 3
    assert all((tmp_path / plot).is_file() for plot in plots)


def test_fields_of_a_part_of_the_samples_are_counted() -> None:
    """So that nobody takes ten maps for a hundred; texts that are not there are warned of."""
    data = _full()
    assert data.attention is not None
    assert data.texts is not None
    maps = data.attention.copy()
    maps[160:] = np.nan
    found = diagnose(replace(data, attention=maps, texts=(*data.texts[:290], *[""] * 10)))

    assert found.partly == {"attention": 10, "text": 140}
    assert any("10 samples are judged without words" in line for line in found.warnings)
    assert diagnose(data).partly == {}


def test_the_share_of_wrong_labels_is_not_overstated() -> None:
    """With few classes a model's own sure errors are counted: the summary says so."""
    few, many = (" ".join(summary_sentences(diagnose(clustered(300, classes=c, noise=0.2)))) for c in (3, 8))

    assert "the model's own sure errors counted" in few
    assert "Estimated share of wrong labels" in many
