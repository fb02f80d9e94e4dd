"""Tests of clipfast.retrieval: the bank, its file, its scores and how it is built."""

import io
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.errors import ArtifactError, DataError, FingerprintError, ImageError, ShapeError
from clipfast.retrieval import BankModel, FabricBank, Neighbour, Ranked, References, class_scores
from clipfast.retrieval.encode import BuildReport
from clipfast.retrieval.scoring import CLASS_SCORES, ClassScore
from clipfast.runtime.images import load_image
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.types import Floats, ImageEncoder, Images

COLOURS = {"cotton": (200, 30, 30), "silk": (30, 200, 30), "羊毛": (30, 30, 200)}


class ColourEncoder:
    """Stands in for a model: the mean colour, centred, as a unit row."""

    name = "colour"

    def __init__(self, fingerprint: str = "a" * 64, precision: str = "fp32") -> None:
        self._fingerprint = fingerprint
        self.precision = precision
        self.calls: list[int] = []

    def fingerprint(self, output: str = "embedding") -> str:
        return self._fingerprint

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        self.calls.append(len(listed))
        means = [np.asarray(load_image(image).convert("RGB"), dtype=float).mean(axis=(0, 1)) for image in listed]
        rows = np.c_[np.array(means) - 100, np.full(len(means), 20)]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def paint(path: Path, colour: tuple[int, int, int], shift: int = 0, side: int = 8) -> None:
    """Write a plain image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    red, green, blue = colour
    Image.new("RGB", (side, side), (red + shift, green, blue + 2 * shift)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three fabrics of three photos, one with a Chinese name, suffixes in several cases."""
    for fabric, colour in COLOURS.items():
        for number, suffix in enumerate((".png", ".PNG", ".bmp")):
            paint(tmp_path / "fabrics" / fabric / f"ref_{number}{suffix}", colour, 6 * number)
    return tmp_path / "fabrics"


@pytest.fixture
def bank(folder: Path) -> FabricBank:
    """The bank of the folder."""
    return FabricBank.build(ColourEncoder(), folder)


def report_of(bank: FabricBank) -> BuildReport:
    """Return the report that a build leaves."""
    assert bank.report is not None
    return bank.report


def unit(rows: Any) -> Floats:
    """Normalise rows."""
    array = np.asarray(rows, dtype=np.float64)
    return np.asarray(array / np.linalg.norm(array, axis=-1, keepdims=True), dtype=np.float32)


def floats(rows: Any) -> Floats:
    """Return rows as float32."""
    return np.array(rows, dtype=np.float32)


def references(fabrics: list[str], rows: Floats) -> References:
    """Return references with made-up paths."""
    return References(rows, fabrics, [f"{f}/{i:03}.jpg" for i, f in enumerate(fabrics)], ["0" * 64] * len(fabrics))


# ---- scores


def naive_ranking(query: Floats, fabrics: list[str], rows: Floats, score: str) -> list[tuple[str, float]]:
    """One loop a fabric, one a photo, straight from the definition."""

    def cosines(fabric: str) -> list[float]:
        return [float(np.dot(query.astype(float), row)) for f, row in zip(fabrics, rows, strict=True) if f == fabric]

    def centroid(fabric: str) -> float:
        mean = np.mean([row.astype(float) for f, row in zip(fabrics, rows, strict=True) if f == fabric], axis=0)
        return float(np.dot(query.astype(float), mean / np.linalg.norm(mean)))

    scores: dict[str, float] = {}
    for fabric in set(fabrics):
        scores[fabric] = {"max": max(cosines(fabric)), "mean": float(np.mean(cosines(fabric)))}.get(
            score, centroid(fabric)
        )
    if score == "centroid" and len(scores) > 1:
        first, second = sorted(scores.values(), reverse=True)[:2]
        if first - second < 0.03:
            shortlist = [fabric for fabric in scores if first - scores[fabric] < 0.03]
            lowest = min(max(cosines(fabric)) for fabric in shortlist)
            scores = {f: max(cosines(f)) if f in shortlist else min(max(cosines(f)), lowest - 1e-9) for f in scores}
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), spread=st.sampled_from([0.05, 0.3, 1.0]))
@pytest.mark.parametrize("score", sorted(CLASS_SCORES))
def test_rank_equals_the_naive_ranking(score: ClassScore, seed: int, count: int, spread: float) -> None:
    """Every class score gives the twin's fabrics and scores; a small spread makes centroids close."""
    rng = np.random.default_rng(seed)
    rows = unit(np.ones(16) / 4 + spread * rng.standard_normal((count, 16)))
    fabrics = [f"f{number}" for number in rng.integers(0, 6, count)]
    queries = unit(np.ones(16) / 4 + spread * rng.standard_normal((4, 16)))
    bank = FabricBank(references(fabrics, rows), BankModel("a" * 64, "fp32", "none"))
    answers = bank.rank_many(queries, topk=10, score=score)
    for query, answer in zip(queries, answers, strict=True):
        expected = naive_ranking(query, fabrics, rows, score)
        np.testing.assert_allclose([r.score for r in answer], [value for _, value in expected], atol=1e-6)
        assert sorted((r.score for r in answer), reverse=True) == [r.score for r in answer]
        assert answer == bank.rank(query, topk=10, score=score)
        if np.diff([-value for _, value in expected]).min(initial=1) > 1e-6:  # nearer ones may swap by rounding
            assert [name for name, _ in expected] == [r.id for r in answer]


def test_centroid_rescoring_keeps_others_behind() -> None:
    """Close centroids are decided by photos, and a far fabric with one lucky photo stays behind the shortlist."""
    angles = {"a": [0.30, 0.30], "b": [0.02, 0.60], "lucky": [0.0, 1.6]}
    rows = floats([[np.cos(x), np.sin(x)] for pair in angles.values() for x in pair])
    fabrics = [fabric for fabric in angles for _ in range(2)]
    bank = FabricBank(references(fabrics, rows), BankModel("a" * 64, "fp32", "none"))
    answer = bank.rank(floats([1, 0]), score="centroid")
    assert [r.id for r in answer] == ["b", "a", "lucky"]
    np.testing.assert_allclose([r.score for r in answer], [np.cos(0.02), np.cos(0.3), np.cos(0.3)], atol=1e-6)
    assert [r.id for r in bank.rank(floats([1, 0]), score="max")] == ["lucky", "b", "a"]


def test_photos_that_cancel_out_have_no_centroid() -> None:
    """Opposite photos give a centroid score of 0, not NaN."""
    refs = references(["a", "a", "b"], floats([[1, 0], [-1, 0], [0, 1]]))
    assert refs.centroids[0].tolist() == [0.0, 0.0]
    assert class_scores(floats([[0, 1]]), refs, "centroid").tolist() == [[0.0, 1.0]]


def test_equal_scores_stand_in_the_order_of_ids() -> None:
    """The same photo under several fabrics gives equal scores wherever its rows stand, and ids decide."""
    rows = unit(np.random.default_rng(0).standard_normal((23, 512)))
    rows[[3, 9, 17, 22]] = rows[3]
    fabrics = [f"f{number:02}" for number in range(23)]
    bank = FabricBank(references(fabrics, rows), BankModel("a" * 64, "fp32", "none"))
    for score in CLASS_SCORES:
        assert [r.id for r in bank.rank(rows[3], topk=4, score=score)] == ["f03", "f09", "f17", "f22"]
    assert [n.fabric for n in bank.search(rows[3], topk=4)] == ["f03", "f09", "f17", "f22"]


def test_ranked_answers_both_ways() -> None:
    """r["id"] and r.id are one; an unknown name lists the fields; records cannot be changed."""
    ranked = Ranked("cotton", 0.5)
    assert (ranked["id"], ranked["score"]) == (ranked.id, ranked.score) == ("cotton", 0.5)
    with pytest.raises(KeyError, match="the fields are id, score"):
        ranked["name"]
    with pytest.raises(AttributeError):
        ranked.score = 1.0  # type: ignore[misc]
    assert Neighbour("p", "f", 1.0)["path"] == "p"


# ---- build


def test_build_reads_every_fabric(bank: FabricBank) -> None:
    """Three fabrics of three photos, in order, with checksums, and a query of each colour finds its fabric."""
    assert dict.fromkeys(sorted(COLOURS), 3) == bank.fabrics == report_of(bank).counts
    assert bank.references.embeddings.shape == (9, 4)
    assert "羊毛/ref_1.PNG" in bank.references.paths
    assert all(len(sha256) == 64 for sha256 in bank.references.sha256)
    for fabric, colour in COLOURS.items():
        assert fabric == bank.rank(Image.new("RGB", (3, 3), colour))[0].id
    assert isinstance(bank.clip, ImageEncoder)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9, 100])
def test_build_does_not_depend_on_the_batch(folder: Path, tmp_path: Path, batch_size: int) -> None:
    """Any batch size gives the same file; batches are as large as asked for, and progress ends at the total."""
    clip, seen = ColourEncoder(), list[tuple[int, int]]()
    FabricBank.build(ColourEncoder(), folder).save(tmp_path / "a.npz")
    built = FabricBank.build(clip, folder, batch_size=batch_size, progress=lambda *step: seen.append(step))
    built.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert min(batch_size, 9) == max(clip.calls)
    assert [(done, 9) for done in range(1, 10)] == seen


def test_build_skips_and_names_damaged_files(folder: Path) -> None:
    """A truncated image, a text named .jpg, an empty file and a .txt are skipped with a reason and counted."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, "JPEG")
    (folder / "cotton" / "broken.JPG").write_bytes(buffer.getvalue()[:-900])
    (folder / "silk" / "text.jpg").write_text("no image")
    (folder / "silk" / "empty.jpg").touch()
    (folder / "silk" / "notes.txt").touch()
    (folder / "bare").mkdir()
    clean = FabricBank.build(ColourEncoder(), folder)
    report = report_of(clean)
    assert [s.path for s in report.skipped] == [
        "cotton/broken.JPG",
        "silk/empty.jpg",
        "silk/notes.txt",
        "silk/text.jpg",
    ]
    assert all(skipped.reason and skipped.path not in skipped.reason for skipped in report.skipped)
    assert "truncated" in report.skipped[0].reason
    assert report.counts == {"bare": 0, "cotton": 3, "silk": 3, "羊毛": 3}
    assert len(clean) == 9


@pytest.mark.parametrize("name", ["broken.jpg", "notes.txt"])
def test_strict_build_fails_at_the_first_bad_file(folder: Path, name: str) -> None:
    """With strict, the bad file is an error that names it."""
    (folder / "silk" / name).write_text("no image")
    with pytest.raises(ImageError, match=rf"^silk/{name}: .*image"):
        FabricBank.build(ColourEncoder(), folder, strict=True)


def test_image_that_the_encoder_refuses_spoils_no_batch(folder: Path) -> None:
    """When the encoder itself refuses one image, the others of its batch are encoded."""

    class Fussy(ColourEncoder):
        def encode_images(self, images: Images) -> Floats:
            if isinstance(images, list) and (9, 9) in [image.size for image in images]:
                raise ImageError("no squares of nine")
            return super().encode_images(images)

    paint(folder / "silk" / "nine.png", (1, 2, 3), side=9)
    report = report_of(FabricBank.build(Fussy(), folder))
    assert [(s.path, s.reason) for s in report.skipped] == [("silk/nine.png", "no squares of nine")]
    assert dict.fromkeys(sorted(COLOURS), 3) == report.counts
    with pytest.raises(ImageError, match="nine"):
        FabricBank.build(Fussy(), folder, strict=True)


def test_large_photo_is_refused_by_a_limit_that_can_be_raised(folder: Path) -> None:
    """A photo above max_pixels is skipped with its size; a higher limit takes it."""
    paint(folder / "silk" / "large.png", (1, 2, 3), side=40)
    skipped = report_of(FabricBank.build(ColourEncoder(), folder, max_pixels=1599)).skipped
    assert [s.path for s in skipped] == ["silk/large.png"]
    assert "1,599" in skipped[0].reason
    assert report_of(FabricBank.build(ColourEncoder(), folder, max_pixels=1600)).skipped == ()


def test_memory_bounds_a_batch_of_large_photos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends early when its pixels would take too much memory."""
    monkeypatch.setattr("clipfast.retrieval.encode._PIXELS_PER_BATCH", 130)  # two photos of 8 x 8
    clip = ColourEncoder()
    FabricBank.build(clip, folder)
    assert clip.calls == [2, 2, 2, 2, 1]


def test_empty_folder_shows_the_expected_layout(tmp_path: Path) -> None:
    """Nothing to read, or nothing readable, is "No embeddings collected" with the layout and the first reason."""
    with pytest.raises(DataError, match=r"^No embeddings collected: .*data/fabrics/<fabric_id>/<photo>\.jpg"):
        FabricBank.build(ColourEncoder(), tmp_path)
    (tmp_path / "cotton").mkdir()
    (tmp_path / "cotton" / "bad.jpg").write_text("x")
    with pytest.raises(DataError, match=r"^No embeddings collected: .*1 skipped; the first: cotton/bad\.jpg"):
        FabricBank.build(ColourEncoder(), tmp_path)


def test_repeated_and_small_photos_are_kept_and_reported(bank: FabricBank, folder: Path) -> None:
    """The same file twice stays in the bank and is reported; so are photos below 224 pixels."""
    (folder / "silk" / "again.png").write_bytes((folder / "silk" / "ref_0.png").read_bytes())
    paint(folder / "silk" / "large.png", (1, 2, 3), side=224)
    report = report_of(FabricBank.build(ColourEncoder(), folder))
    assert report.repeated == ("silk/ref_0.png",)
    assert report.counts["silk"] == 5
    assert len(report.small) == 10
    assert "silk/large.png" not in report.small


# ---- queries


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.eye(4, dtype=np.float32)[:2], r"\(2, 4\)\. Pass several to rank_many"),
        (np.zeros((0, 4), dtype=np.float32), "rank_many"),
        ([np.eye(4, dtype=np.float32)[0]], "list of 1. Pass several to rank_many"),
        (np.eye(5, dtype=np.float32)[0], r"query must be \(n, 4\); got \(1, 5\)"),
        (np.eye(4)[0], "float32; got float64"),
        (np.full(4, np.nan, dtype=np.float32), "finite"),
        (np.ones(4, dtype=np.float32), "unit rows; row 0 has length 2"),
        (np.zeros((1, 1, 4), dtype=np.float32), r"got \(1, 1, 4\)"),
    ],
)
def test_rank_says_what_it_wants(bank: FabricBank, query: Any, message: str) -> None:
    """Several rows, wrong widths, dtypes and values are refused with expected and got."""
    for method in (bank.rank, bank.search, bank.nearest):
        with pytest.raises(ShapeError, match=message):
            method(query)


def test_rank_refuses_unknown_options(bank: FabricBank) -> None:
    """topk below 1 and an unknown score are errors that list what there is."""
    query = np.eye(4, dtype=np.float32)[0]
    with pytest.raises(ShapeError, match="topk must be an integer of at least 1; got 0"):
        bank.rank(query, topk=0)
    with pytest.raises(ShapeError, match=r"topk must be an integer of at least 1; got 2\.5"):
        bank.rank(query, topk=2.5)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ShapeError, match="topk must be an integer of at least 1; got -1"):
        bank.search(query, topk=-1)
    with pytest.raises(ShapeError, match="max, mean, centroid; got 'best'"):
        bank.rank(query, score="best")  # type: ignore[arg-type]  # what must be refused


def test_topk_beyond_the_bank_gives_all(bank: FabricBank) -> None:
    """Asking for more than there is gives what there is."""
    query = np.eye(4, dtype=np.float32)[:1]
    assert (len(bank.rank(query, topk=99)), len(bank.search(query, topk=99))) == (3, 9)
    assert bank.rank_many(np.zeros((0, 4), dtype=np.float32)) == []


def test_images_and_vectors_rank_alike(bank: FabricBank, folder: Path, tmp_path: Path) -> None:
    """A path, a PIL image, an array and the vector give one answer; without a clip an image is refused."""
    path = folder / "silk" / "ref_0.png"
    image = Image.open(path)
    vector = ColourEncoder().encode_images([image])
    answers = [bank.rank(query) for query in (path, str(path), image, np.asarray(image), vector, vector[0])]
    assert all(answer == answers[0] for answer in answers)
    assert [answers[0]] * 2 == bank.rank_many([path, image])
    bank.save(tmp_path / "bank.npz")
    plain = FabricBank.load(tmp_path / "bank.npz")
    assert answers[0] == plain.rank(vector)
    for ask in (lambda: plain.rank(path), lambda: plain.rank_many([path]), lambda: plain.add(path, "silk")):
        with pytest.raises(ArtifactError, match=r"FabricBank\.load\(path, clip=clip\)"):
            ask()


def test_search_and_nearest_agree_with_rank(bank: FabricBank, folder: Path) -> None:
    """The nearest photo is the one asked with, and each fabric's nearest photo has its max score."""
    path = folder / "羊毛" / "ref_2.bmp"
    first = bank.search(path, topk=1)[0]
    assert (first.path, first.fabric) == ("羊毛/ref_2.bmp", "羊毛")
    nearest = bank.nearest(path)
    assert {r.id: r.score for r in bank.rank(path)} == {fabric: photo.score for fabric, photo in nearest.items()}
    assert first.path == nearest["羊毛"].path


# ---- add and remove


def test_add_and_remove_give_the_bank_that_build_gives(bank: FabricBank, folder: Path, tmp_path: Path) -> None:
    """Photos added by folder, list and layout, and others removed: the file equals that of a fresh build."""
    paint(tmp_path / "new" / "x.png", (90, 90, 90))
    paint(tmp_path / "new" / "y.png", (120, 90, 90))
    bank.search(np.eye(4, dtype=np.float32)[0])  # an index of before must not be used afterwards
    assert bank.add(tmp_path / "new", fabric_id="linen").counts == {"linen": 2}
    assert bank.remove("silk/ref_0.png") == 1
    assert bank.remove("羊毛") == 3
    paint(folder / "cotton" / "more.png", (180, 40, 40))
    assert bank.add([folder / "cotton" / "more.png"], "cotton").counts["cotton"] == 1
    assert bank.search(folder / "cotton" / "more.png", 1)[0].path == "cotton/more.png"
    (folder / "silk" / "ref_0.png").unlink()
    for path in (folder / "羊毛").iterdir():
        path.unlink()
    (tmp_path / "new").rename(folder / "linen")
    bank.save(tmp_path / "changed.npz")
    FabricBank.build(ColourEncoder(), folder).save(tmp_path / "fresh.npz")
    assert (tmp_path / "changed.npz").read_bytes() == (tmp_path / "fresh.npz").read_bytes()


def test_adding_again_replaces_and_says_so(bank: FabricBank, folder: Path) -> None:
    """Adding the same layout again keeps the size; a photo that changed has its new vector."""
    paint(folder / "silk" / "ref_0.png", (200, 200, 30))
    report = bank.add(folder)
    assert (len(bank), len(report.replaced)) == (9, 9)
    assert bank.search(Image.new("RGB", (2, 2), (200, 200, 30)), 1)[0].path == "silk/ref_0.png"


def test_images_without_a_name_are_named_by_content(bank: FabricBank) -> None:
    """PIL images, arrays and bytes are added under fabric/hash; the same one again changes nothing."""
    image = Image.new("RGB", (5, 5), (9, 9, 9))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    report = bank.add([image, np.asarray(image), buffer.getvalue(), io.BytesIO(buffer.getvalue())], "linen")
    assert (report.counts["linen"], len(report.skipped)) == (2, 2)
    assert [s.reason for s in report.skipped] == ["a photo of that name and content came before it"] * 2
    names = [path for path in bank.references.paths if path.startswith("linen/")]
    assert all(len(name) == len("linen/") + 16 for name in names)
    assert len(bank.add([image, buffer.getvalue()], "linen").replaced) == 2
    assert bank.add(np.zeros((2, 2, 3), np.uint8), "linen").counts == {"linen": 1}
    assert bank.fabrics["linen"] == 3


def test_photos_of_one_name_from_two_folders_do_not_vanish_silently(bank: FabricBank, tmp_path: Path) -> None:
    """The second IMG_1.png of one call gets a name of its own; the same file twice is skipped."""
    paint(tmp_path / "a" / "IMG_1.png", (1, 1, 1))
    paint(tmp_path / "b" / "IMG_1.png", (2, 2, 2))
    report = bank.add([tmp_path / f"{folder}/IMG_1.png" for folder in "abb"], "linen")
    names = [path for path in bank.references.paths if "IMG_1" in path]
    assert names[0][:12] == "linen/IMG_1-"
    assert names[1] == "linen/IMG_1.png"
    assert [skipped.path for skipped in report.skipped] == [names[0]]


@pytest.mark.parametrize("fabric_id", ["", " ", ".hidden", "a/b", "a\\b", "a\nb"])
def test_add_refuses_what_is_no_folder_name(bank: FabricBank, fabric_id: str) -> None:
    """A fabric id must do as a folder's name."""
    with pytest.raises(DataError, match="fabric_id must be a folder name"):
        bank.add(Image.new("RGB", (2, 2)), fabric_id)


def test_add_without_a_fabric_or_a_photo_is_refused(bank: FabricBank, tmp_path: Path) -> None:
    """Photos need a fabric id, an unreadable photo is named, and the bank stays as it was."""
    with pytest.raises(DataError, match=r"fabric_id must name the fabric"):
        bank.add([Image.new("RGB", (2, 2))])
    with pytest.raises(DataError, match=r"linen/nothing\.jpg: No such file"):
        bank.add(tmp_path / "nothing.jpg", "linen")
    assert len(bank) == 9


def test_remove_of_unknown_lists_what_is_known(bank: FabricBank) -> None:
    """An unknown name lists the fabrics; the last fabric cannot be removed."""
    with pytest.raises(DataError, match=r"named 'linen'\. The bank's fabrics: cotton, silk, 羊毛\."):
        bank.remove("linen")
    bank.remove("cotton")
    bank.remove("silk")
    with pytest.raises(DataError, match="all that the bank holds"):
        bank.remove("羊毛")
    assert bank.fabrics == {"羊毛": 3}


def test_ranking_beside_changes_is_safe(bank: FabricBank) -> None:
    """Threads that rank while another adds and removes always see a whole bank."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                assert len(bank.search(np.eye(4, dtype=np.float32)[0], 20)) in (9, 10)
                assert len(bank.rank(np.eye(4, dtype=np.float32)[0], 5)) == 3
        except BaseException as error:  # noqa: BLE001  (handed to the test's thread)
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        bank.add(Image.new("RGB", (2, 2)), "silk")
        bank.remove(next(path for path in bank.references.paths if "ref" not in path))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


# ---- file


def test_file_round_trip_is_equal_and_reproducible(bank: FabricBank, folder: Path, tmp_path: Path) -> None:
    """A loaded bank has the same content and saves equal bytes; numpy alone reads it; it holds no machine path."""
    bank.save(tmp_path / "a.npz")
    again = FabricBank.load(tmp_path / "a.npz", clip=ColourEncoder())
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert bank.model == again.model == BankModel("a" * 64, "fp32", "colour")
    assert again.report is None
    path = folder / "silk" / "ref_1.PNG"
    assert bank.rank(path) == again.rank(path)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["embeddings", "fabric_ids", "meta", "paths", "sha256"]
        meta = msgspec.json.decode(str(arrays["meta"]))
    assert sorted(meta) == ["created_by", "fingerprint", "format", "model", "precision"]
    assert str(tmp_path).encode("utf-32-le") not in (tmp_path / "a.npz").read_bytes()


@pytest.mark.parametrize("place", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_changed_byte_is_refused(bank: FabricBank, tmp_path: Path, place: float) -> None:
    """One changed byte anywhere is noticed, and the message names the file."""
    path = tmp_path / "bank.npz"
    bank.save(path)
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bank\.npz"):
        FabricBank.load(path)


def test_truncated_and_foreign_files_are_refused(bank: FabricBank, tmp_path: Path) -> None:
    """Half a bank, an empty file and another program's .npz are refused by name."""
    path = tmp_path / "bank.npz"
    bank.save(path)
    half = path.read_bytes()[: path.stat().st_size // 2]
    np.savez(tmp_path / "foreign.npz", embeddings=np.eye(3))
    for data in (half, b"", (tmp_path / "foreign.npz").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match=r"bank\.npz"):
            FabricBank.load(path)


def test_missing_bank_says_how_to_build_it(tmp_path: Path) -> None:
    """A bank that is not there is an error with the command that builds it."""
    with pytest.raises(ArtifactError, match="clipfast bank build data/fabrics"):
        FabricBank.load(tmp_path / "none.npz")


def test_other_fingerprint_is_refused_naming_both(bank: FabricBank, tmp_path: Path) -> None:
    """A bank of another model is refused, naming both fingerprints."""
    bank.save(tmp_path / "bank.npz")
    with pytest.raises(FingerprintError, match=r"bank\.npz.*aaaaaaaa.*bbbbbbbb"):
        FabricBank.load(tmp_path / "bank.npz", clip=ColourEncoder("b" * 64))


def test_other_precision_is_refused_unless_accepted(bank: FabricBank, tmp_path: Path) -> None:
    """A bank of another precision is refused, naming both, unless the caller accepts it."""
    bank.save(tmp_path / "bank.npz")
    with pytest.raises(ArtifactError, match=r"precision fp32; this model runs int8.*accept"):
        FabricBank.load(tmp_path / "bank.npz", clip=ColourEncoder(precision="int8"))
    assert len(FabricBank.load(tmp_path / "bank.npz", ColourEncoder(precision="int8"), accept_precision=True)) == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": np.full((9, 4), np.nan, np.float32)}, "finite"),
        ({"embeddings": np.ones((9, 4), np.float32)}, "unit rows"),
        ({"embeddings": np.full((9, 4), 0.5)}, "float32"),
        ({"embeddings": np.full((8, 4), 0.5, np.float32)}, "one length"),
        ({"embeddings": np.zeros((9, 0), np.float32)}, "unit rows"),
        ({"embeddings": np.zeros(9, np.float32)}, "must be"),
        ({"fabric_ids": np.arange(9)}, "fabric_ids must be one row of texts"),
        ({"fabric_ids": np.array([""] * 9)}, "empty text"),
        ({"paths": np.array(["a/b"] * 9)}, "'a/b' comes twice"),
        ({"sha256": np.array(["zz"] * 9)}, "not a readable bank"),
        ({"meta": np.array('{"format": 2}')}, "format 2; this clipfast reads format 1. Update"),
        ({"meta": np.array('{"format": 1}')}, "missing required field"),
        ({"meta": np.arange(3)}, "not a readable bank"),
        ({"paths": None}, "has no paths"),
    ],
)
def test_sealed_file_with_wrong_content_is_refused(
    bank: FabricBank, tmp_path: Path, changed: dict[str, np.ndarray | None], message: str
) -> None:
    """A file that is sealed but holds something else is an ArtifactError that names it."""
    path = tmp_path / "bank.npz"
    bank.save(path)
    arrays = {**load_sealed_npz(path, kind="bank"), **changed}
    save_sealed_npz(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ArtifactError, match=rf"bank\.npz.*{message}"):
        FabricBank.load(path)


def test_embeddings_of_a_bank_cannot_be_changed(bank: FabricBank) -> None:
    """A bank's rows are read-only, so no caller can spoil them."""
    with pytest.raises(ValueError, match="read-only"):
        bank.references.embeddings[0, 0] = 1


def test_import_loads_no_heavy_library() -> None:
    """Importing retrieval loads neither FAISS nor ONNX Runtime nor Numba."""
    code = (
        "import sys, clipfast.retrieval as r; sys.exit(any(m in sys.modules for m in ('faiss','onnxruntime','numba')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
