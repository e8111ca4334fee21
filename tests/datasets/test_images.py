"""Images: every format as RGB, every damage an error that names the file."""

import functools
import io
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from partreid.datasets.images import FORMATS, TooLargeError, decode, from_pil, read_image, resize
from partreid.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 255, (16, 8, 3), dtype=np.uint8)


def encoded(form: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).convert(mode).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back(tmp_path: Path, form: str) -> None:
    (tmp_path / "p").write_bytes(encoded(form))
    np.testing.assert_array_equal(read_image(tmp_path / "p"), NOISE)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_decoded_as_pillow_does(mode: str) -> None:
    data = encoded("JPEG", mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    # From CMYK the two round differently.
    np.testing.assert_allclose(decode(data), expected, rtol=0, atol=1 if mode == "CMYK" else 0)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    assert decode(encoded("PNG", mode)).shape == (16, 8, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncation_is_noticed(tmp_path: Path, form: str, share: float) -> None:
    data = encoded(form)
    (tmp_path / "cut").write_bytes(data[: max(3, int(len(data) * share))])
    with pytest.raises(DataError, match=r"cut is (a damaged|no image).*again"):
        read_image(tmp_path / "cut")


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: No such file"):
        read_image(tmp_path / "gone.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"text\.jpg is no image in a known format"):
        read_image(tmp_path / "text.jpg")


def test_deep_images_are_refused_instead_of_clipped() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(buffer, "PNG")
    with pytest.raises(DataError, match="more than 8 bits"):
        decode(buffer.getvalue())


def test_resize() -> None:
    assert resize(NOISE, (16, 8)) is NOISE
    assert resize(NOISE, (32, 24)).shape == (32, 24, 3)
    grey = np.full((7, 5, 3), 90, np.uint8)
    np.testing.assert_array_equal(resize(grey, (14, 3)), np.full((14, 3, 3), 90, np.uint8))
    with pytest.raises(DataError, match=r"\[H, W, 3\]"):
        resize(NOISE[..., 0], (4, 4))
    with pytest.raises(DataError, match="at least 1×1, got 0×4"):
        resize(NOISE, (0, 4))


@pytest.mark.parametrize("size", [(16, 8), (1, 1), (7, 5), (1, 9), (64, 33)])
def test_doubling_gives_pillows_bytes(size: tuple[int, int]) -> None:
    """Twice the height, the width or both take another way; nobody may see a difference."""
    random = np.random.default_rng(0)
    height, width = size
    for image in (
        random.integers(0, 256, (height, width, 3), dtype=np.uint8),
        random.integers(0, 2, (height, width, 3), dtype=np.uint8) * np.uint8(255),
        random.integers(120, 123, (height, width, 3), dtype=np.uint8),  # rounding decides everything
    ):
        image.flags.writeable = False  # as decoded PNGs are
        for new in ((2 * height, 2 * width), (2 * height, width), (height, 2 * width), (3 * height, 2 * width + 1)):
            expected = np.asarray(Image.fromarray(image).resize(new[::-1], Image.Resampling.BILINEAR))
            np.testing.assert_array_equal(resize(image, new), expected)


# --- one orientation ---

CORNERS = np.zeros((24, 16, 3), np.uint8)  # red above left, green above right, blue below left
CORNERS[:12, :8], CORNERS[:12, 8:], CORNERS[12:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def oriented(form: str, orientation: int, mode: str = "RGB") -> bytes:
    """An image whose pixels are stored as a telephone held otherwise stores them."""
    stored = Image.fromarray(CORNERS).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, form, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "CMYK", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_is_turned_upright_as_pillow_turns_it(form: str, orientation: int) -> None:
    data = oriented("JPEG", orientation, "CMYK") if form == "CMYK" else oriented(form, orientation)
    opened = Image.open(io.BytesIO(data))
    expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    np.testing.assert_allclose(decode(data), expected, atol=2, rtol=0)
    np.testing.assert_allclose(from_pil(Image.open(io.BytesIO(data))), expected, atol=2, rtol=0)
    # Whoever turned it himself, or took its pixels, does not have it turned again.
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_allclose(from_pil(turned), expected, atol=2, rtol=0)
    np.testing.assert_allclose(from_pil(Image.fromarray(np.asarray(turned.convert("RGB")))), expected, atol=2, rtol=0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("before", [b"", b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0", b"\xff\xfe\x00\x06text\xff"])
def test_the_orientation_is_found_wherever_it_stands_in_the_header(order: str, before: bytes) -> None:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    tags = magic + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tags
    plain = encoded("JPEG")
    data = plain[:2] + before + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    np.testing.assert_array_equal(decode(data), np.rot90(decode(plain), -1))


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 9]
)
def test_a_damaged_orientation_is_none(damaged: bytes) -> None:
    plain = encoded("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(damaged) + 8) + b"Exif\0\0" + damaged
    np.testing.assert_array_equal(decode(plain[:2] + segment + plain[2:]), decode(plain))
    np.testing.assert_array_equal(decode(plain[:2] + segment * 2000 + plain[2:]), decode(plain))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(value: int) -> None:
    np.testing.assert_array_equal(decode(oriented("PNG", value)), CORNERS)


# --- one list of formats ---

FOREIGN = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 128\n%%EndComments\nshowpage\n%%EOF\n",
    "dos eps": b"\xc5\xd0\xd3\xc6" + bytes(40),
    "blp": b"BLP2" + bytes(200),
    "dds": b"DDS " + bytes(200),
    "psd": b"8BPS\0\1" + bytes(60),
    "ico": b"\0\0\1\0\1\0" + bytes(60),
    "wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "heic": b"\0\0\0\x18ftypheic" + bytes(60),
    "pcd": b"PCD_" + bytes(6000),
    "fits": b"SIMPLE  =                    T" + bytes(2880),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_other_decoder_is_asked_and_no_program_started(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "popen")):
        monkeypatch.setattr(module, name, started)
    (tmp_path / "p.jpg").write_bytes(FOREIGN[kind])
    with pytest.raises(DataError, match=r"p\.jpg is no image in a known format \(JPEG, PNG, .*JPEG or PNG"):
        read_image(tmp_path / "p.jpg")


@pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_the_formats_of_common_downloads_are_read(form: str) -> None:
    assert decode(encoded(form)).shape == (16, 8, 3)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_several_images_in_a_file_none_is_taken_in_silence(tmp_path: Path, form: str) -> None:
    first, second = Image.fromarray(NOISE), Image.fromarray(255 - NOISE)
    first.save(tmp_path / "p", form, save_all=True, append_images=[second])
    with pytest.raises(DataError, match=r"p holds several images \(an animation, or pages\); expected one"):
        read_image(tmp_path / "p")


def test_of_a_telephones_file_the_photo_is_taken_not_what_lies_behind_it(tmp_path: Path) -> None:
    photo, depth = Image.fromarray(CORNERS), Image.new("RGB", (16, 24))
    photo.save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=[depth])
    photo.save(tmp_path / "alone.jpg", "JPEG")
    np.testing.assert_array_equal(read_image(tmp_path / "p.jpg"), read_image(tmp_path / "alone.jpg"))


# --- every mode alike, from a file and from PIL ---


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_mode_gives_the_same_pixels_from_a_file_and_from_pil(mode: str) -> None:
    image = Image.fromarray(NOISE).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(90)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    np.testing.assert_array_equal(decode(buffer.getvalue()), from_pil(image))
    np.testing.assert_array_equal(from_pil(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["I", "I;16", "F", "LAB", "HSV", "RGBa"])
def test_a_mode_that_takes_a_guess_is_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"expected 8 bits a channel, RGB or grey, got mode {mode}.*Convert it"):
        from_pil(Image.new(mode, (8, 16)))


def test_a_palettes_transparency_is_dropped_as_any_other() -> None:
    image = Image.fromarray(CORNERS).quantize(4)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0)
    np.testing.assert_array_equal(decode(buffer.getvalue()), CORNERS)


# --- size and time before anything is decoded ---


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_header_says_how_large_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("1", (12_000, 11_000)).save(buffer, "PNG")
    jpeg = bytearray(encoded("JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 30_000, 30_000)
    small = encoded("JPEG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("it is decoded"))
    for data in (buffer.getvalue(), bytes(jpeg)):
        with pytest.raises(TooLargeError, match=r"p\.x has \d+×\d+, more than 120 million pixels"):
            decode(data, source="p.x")
    with pytest.raises(TooLargeError, match="16, more than 0.0001 million pixels"):
        decode(small, largest=100)
    with pytest.raises(TooLargeError, match="The PIL image has"):
        from_pil(Image.new("1", (12_000, 11_000)))


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    scans = data[:last] + data[last:-2] * 400 + data[-2:]
    with pytest.raises(DataError, match="too many scans for 4000×4000 pixels"):
        decode(scans)
    assert decode(data).shape == (4000, 4000, 3)


def test_a_image_written_as_text_is_refused() -> None:
    for magic, samples in ((b"P1", 1), (b"P2", 1), (b"P3", 3)):
        with pytest.raises(DataError, match=r"p\.ppm is a PPM written as text.*Save it as PNG"):
            decode(magic + b" 4 4 " + b"255 " * (magic != b"P1") + b"1 " * 16 * samples, source="p.ppm")


# --- damage ---


@functools.cache
def whole_files() -> list[bytes]:
    return [
        encoded(form, mode) for form in FORMATS for mode in ("RGB", "L") if not (form == "JPEG2000" and mode == "L")
    ]


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged headers
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_of_any_kind_is_a_typed_error_or_a_image(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(whole_files())))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(content), 400) - 1))
        new = data.draw(st.sampled_from([b"\0", b"\xff", b"\x80", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0" * 4]))
        content[place : place + len(new)] = new
    try:
        pixels = decode(bytes(content[: data.draw(st.integers(1, len(content)) | st.just(len(content)))]))
    except DataError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


@pytest.mark.parametrize("raised", [MemoryError, RecursionError, NotImplementedError, ZeroDivisionError, struct.error])
def test_whatever_a_decoder_raises_is_a_typed_error(raised: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise raised

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(DataError, match=r"p\.png is a damaged image: \w+.*again"):
        decode(encoded("PNG"), source="p.png")
    with pytest.raises(DataError, match="A PIL image cannot be decoded"):
        from_pil(Image.open(io.BytesIO(encoded("PNG"))))


def test_pixels_as_they_are_stored_where_asked_for() -> None:
    stored = np.zeros((8, 4, 3), np.uint8)
    stored[:4] = 200
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(stored).save(buffer, format=kind, exif=exif)
        assert decode(buffer.getvalue()).shape == (4, 8, 3)
        assert decode(buffer.getvalue(), upright=False).shape == (8, 4, 3)
