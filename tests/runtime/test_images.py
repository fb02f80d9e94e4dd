"""Tests of clipfast.runtime.images."""

import io
import struct
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from clipfast.errors import ImageError, ShapeError
from clipfast.runtime.images import DEFAULT_MAX_PIXELS, load_image, load_pixels
from clipfast.types import Pixels


def picture(height: int = 12, width: int = 20) -> Pixels:
    """Return seeded noise."""
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


def encoded(kind: str = "PNG", image: Image.Image | None = None, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    (image or Image.fromarray(picture())).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """Return a PNG whose header promises pixels that are not there."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def huge_bmp() -> bytes:
    """Return the header of a BMP of 50,000 x 50,000."""
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 50_000, 50_000, 1, 24, *[0] * 6)


def huge_jpeg() -> bytes:
    """Return a JPEG whose frame header says 50,000 x 50,000."""
    data = encoded("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 50_000, 50_000) + data[at + 4 :]


def huge_tiff() -> bytes:
    """Return a TIFF whose directory says 50,000 x 50,000."""
    entries = [(256, 50_000), (257, 50_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 50_000), (279, 1)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0)


def huge_webp() -> bytes:
    """Return a WebP whose lossless header says 16,384 x 16,384."""
    data = bytearray(encoded("WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    data[at : at + 4] = struct.pack("<I", 16_383 | 16_383 << 14 | (data[at + 3] >> 4) << 28)
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),  # decoded by libtiff, the plain one by Pillow
        ("TIFF", {"big_tiff": True}),
        ("WEBP", {"lossless": True}),
        ("JPEG", {}),
    ],
)
def test_every_source_of_a_file_gives_its_pixels(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    """Path, text path, bytes and open file are one image, equal to what Pillow reads."""
    data = encoded(kind, **options)
    file = tmp_path / "image.any"
    file.write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    with file.open("rb") as opened:
        opened.read(3)  # an open file is read from its start, as Pillow does
        got = [load_image(source) for source in (file, str(file), data, opened, io.BytesIO(data))]
    assert all(np.array_equal(expected, np.asarray(image)) for image in got)
    assert kind == "JPEG" or np.array_equal(expected, picture())


def test_stream_that_cannot_seek_is_read() -> None:
    """A pipe or a socket is as good as a file."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("seek")

    assert np.array_equal(picture(), np.asarray(load_image(Pipe(encoded()))))


def test_levels_of_16_bits_are_scaled_and_of_32_refused() -> None:
    """Pillow's own conversion to RGB would make all of them white."""
    deep = np.linspace(0, 65_535, 240).reshape(12, 20).astype(np.uint16)
    wanted = (deep >> 8).astype(np.uint8)
    image = Image.fromarray(deep)
    for source in (image, encoded(image=image), encoded("TIFF", image)):
        assert np.array_equal(np.asarray(load_image(source)), wanted)
        assert np.array_equal(np.asarray(load_pixels(source)), wanted)
    with pytest.raises(ImageError, match=r"has 32-bit levels up to 70000. Save it with 8 or 16 bits"):
        load_image(Image.fromarray(np.full((2, 3), 70_000, np.int32)))
    assert load_image(Image.fromarray(np.full((2, 3), 70, np.int32))).mode == "I"


def test_array_and_pil_image_come_as_they_are() -> None:
    """An array keeps its values, also when it is a view; a PIL image is the same object."""
    pixels = picture()
    image = Image.fromarray(pixels)
    assert np.array_equal(pixels, np.asarray(load_image(pixels)))
    assert np.array_equal(pixels[::-1, ::2], np.asarray(load_image(pixels[::-1, ::2])))
    assert load_image(image) is image


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5), np.uint8),  # grey
        np.zeros((4, 5, 4), np.uint8),  # alpha
        np.zeros((4, 5, 1), np.uint8),
        np.zeros((2, 4, 5, 3), np.uint8),  # a batch
        np.zeros((4, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(array: Any) -> None:
    """The error says what must be and what came."""
    with pytest.raises(ShapeError, match=r"must be uint8 \(h, w, 3\).*got .*Stack a grey image"):
        load_image(array)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    """All eight orientations of a file are turned upright, or left alone if asked; a TIFF is always upright."""
    stored = Image.fromarray(picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, stored, exif=exif)
    as_stored = Image.open(io.BytesIO(data))
    upright = np.asarray(ImageOps.exif_transpose(as_stored))
    assert upright.shape[:2] == ((20, 12) if orientation > 4 else (12, 20))
    assert np.array_equal(upright, np.asarray(load_image(data)))
    ignored = np.asarray(load_image(data, exif="ignore"))
    assert np.array_equal(upright if kind == "TIFF" else np.asarray(as_stored), ignored)
    if kind != "TIFF":
        opened = Image.open(io.BytesIO(data))
        assert load_image(opened).size == stored.size  # a PIL image comes as it is


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow mentions that the metadata is cut short
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_keeps_the_pixels(exif: bytes) -> None:
    """Orientation data that cannot be read means no orientation."""
    assert load_image(encoded("JPEG", exif=exif)).size == (20, 12)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"just a text, saved as a picture", "it starts with b'just a t'"),
        (encoded("GIF"), "it starts with b'GIF8"),
        (encoded("JPEG")[:-200], "truncated"),
        (encoded("JPEG")[:30], "cannot be read"),
        (encoded("PNG")[:-200], "truncated"),
        (encoded("PNG")[:20], "cannot be read"),
        (encoded("PNG").replace(b"IHDR", b"IHDX"), "cannot be read"),
        (encoded("WEBP")[:-200], "cannot be read"),
        (b"RIFF\0\0\0\0WAVEfmt ", "cannot be read"),
        (encoded("BMP")[:-200], "truncated"),
        (b"BMW is a car", "cannot be read"),
        (encoded("TIFF")[:100], "cannot be read"),
        (encoded("TIFF", compression="tiff_lzw")[:-300], "cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow mentions that a TIFF's directory is cut short
def test_unreadable_data_is_an_image_error(tmp_path: Path, data: bytes, reason: str) -> None:
    """Damaged and foreign files are one error that names the file and the reason."""
    file = tmp_path / "broken.jpg"
    file.write_bytes(data)
    with pytest.raises(ImageError, match=rf"broken\.jpg .*{reason}"):
        load_image(file)
    with pytest.raises(ImageError, match=f"the image of {len(data):,} bytes .*{reason}"):
        load_image(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_no_cut_of_a_file_raises_anything_else(kind: str) -> None:
    """However many bytes arrive, there is an ImageError, or an image where only the end mark is missing."""
    data = encoded(kind, Image.fromarray(picture(4, 5)))
    read = []
    for length in range(len(data)):
        with suppress(ImageError):
            read.append((length, load_image(data[:length]).size))
    assert {size for _, size in read} <= {(5, 4)}
    assert all(length >= len(data) - 24 for length, _ in read)


@pytest.mark.parametrize("source", ["absent.jpg", "."])
def test_missing_file_and_folder_are_image_errors(tmp_path: Path, source: str) -> None:
    """The error names the path."""
    with pytest.raises(ImageError, match="cannot be read as an image: "):
        load_image(tmp_path / source)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"]])
def test_other_sources_are_refused(source: Any) -> None:
    """The error lists what is accepted."""
    with pytest.raises(ImageError, match=f"must be a path.*got {type(source).__name__}"):
        load_image(source)


@pytest.mark.parametrize("make", [huge_png, huge_bmp, huge_jpeg, huge_tiff, huge_webp])
def test_huge_header_is_refused_without_decoding(make: Any) -> None:
    """The size is checked before memory is asked for, and the error says size, limit and what to do."""
    data = make()
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(ImageError, match=r"(?i)must .*\d pixels.*raise (max_pixels|PIL)"):
        load_image(data)
    seconds, peak = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 5_000_000


def test_limit_names_the_size() -> None:
    """Width, height and limit are in the message."""
    with pytest.raises(ImageError, match=r"at most 89,478,485 pixels; got 50,000 x 50,000 = 2,500,000,000"):
        load_image(huge_png())


@pytest.mark.parametrize(
    ("pixels", "accepted"),
    [(240, True), (239, False)],
)
def test_limit_holds_for_everything_that_is_not_decoded(tmp_path: Path, pixels: int, accepted: bool) -> None:
    """An image of exactly the limit is read; one pixel more is not, unless it is in memory already."""
    file = tmp_path / "image.png"
    file.write_bytes(encoded())
    for source in (file, encoded(), encoded("TIFF"), Image.open(io.BytesIO(encoded()))):
        if accepted:
            assert load_image(source, max_pixels=pixels).size == (20, 12)
        else:
            with pytest.raises(ImageError, match="must have at most 239 pixels; got 20 x 12 = 240"):
                load_image(source, max_pixels=pixels)
    assert load_image(picture(), max_pixels=pixels).size == (20, 12)


def test_pillows_own_limit_is_neither_changed_nor_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Pillow would warn or refuse, only max_pixels counts, in every thread; TIFF obeys both without a warning."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # 240 pixels are a warning, 401 would be an error
    data, tiff = encoded(), encoded("TIFF")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(4) as pool:
            sizes = set(pool.map(lambda _: load_image(data).size, range(50)))
        with pytest.raises(ImageError, match=r"at most 200 pixels.*PIL\.Image\.MAX_IMAGE_PIXELS"):
            load_image(tiff)
    assert sizes == {(20, 12)}
    assert heard == []
    assert Image.MAX_IMAGE_PIXELS == 200


def test_default_limit_is_where_pillow_begins_to_warn() -> None:
    """Nothing that is accepted by default makes Pillow warn."""
    assert Image.MAX_IMAGE_PIXELS == DEFAULT_MAX_PIXELS


def test_the_callers_file_stays_open() -> None:
    """Who opens a file closes it."""
    file: BinaryIO = io.BytesIO(encoded())
    load_image(file)
    assert not file.closed
