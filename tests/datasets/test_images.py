"""Pictures: every format as RGB, every damage an error that names the file."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.images import decode, read_image, resize
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
    with pytest.raises(DataError, match=r"cut is (a damaged|no picture).*anew"):
        read_image(tmp_path / "cut")


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: No such file"):
        read_image(tmp_path / "gone.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(DataError, match=r"text\.jpg is no picture in a known format"):
        read_image(tmp_path / "text.jpg")


def test_deep_pictures_are_refused_instead_of_clipped() -> None:
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
