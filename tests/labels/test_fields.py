"""Label files: what is written comes back, and every damaged file is refused by name."""

import contextlib
import errno
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from partreid.errors import LabelError
from partreid.labels.fields import (
    check_upright,
    label_size,
    part_map_values,
    read_label_map,
    read_part_maps,
    read_pose_fields,
    read_stored_part_maps,
    write_label_map,
    write_pose_fields,
)
from partreid.labels.grouping import group_fields, label_map
from partreid.parts import get_part_schema

FIVE = get_part_schema("five")


@pytest.fixture
def fields() -> np.ndarray:
    return np.random.default_rng(0).random((36, 5, 3), dtype=np.float32)


def test_published_size_of_a_crop() -> None:
    assert label_size(128, 64) == (17, 9)
    assert label_size(256, 128) == (33, 17)
    assert label_size(128, 64, stride=4) == (33, 17)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.float32, (36, 2, 3), elements=st.floats(0, 1, width=32)))
def test_fields_come_back(tmp_path: Path, drawn: np.ndarray) -> None:
    write_pose_fields(tmp_path / "a" / "exact.npy", drawn, quantised=False)
    write_pose_fields(tmp_path / "a" / "small.npy", drawn)
    np.testing.assert_array_equal(read_pose_fields(tmp_path / "a" / "exact.npy"), drawn)
    small = read_pose_fields(tmp_path / "a" / "small.npy")
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, drawn, atol=0.5 / 255 + 1e-6)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["exact.npy", "small.npy"]


def test_values_are_clamped(tmp_path: Path, fields: np.ndarray) -> None:
    np.save(tmp_path / "wild.npy", fields.astype(np.float64) * 4 - 2)
    read = read_pose_fields(tmp_path / "wild.npy")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, np.clip(fields * 4 - 2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("name", ["map.npy", "map.png"])
def test_label_maps_come_back_and_become_part_maps(tmp_path: Path, name: str) -> None:
    label = np.random.default_rng(0).integers(0, 6, (4, 3))
    write_label_map(tmp_path / name, label)
    np.testing.assert_array_equal(read_label_map(tmp_path / name, 5), label)
    np.testing.assert_array_equal(label_map(read_part_maps(tmp_path / name, FIVE)), label)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_part_maps_are_the_largest_fields_of_their_group_however_they_are_stored(
    tmp_path: Path, dtype: type, order: str, version: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (36, 3, 2)) if dtype is np.uint8 else random.normal(0.5, 0.5, (36, 3, 2))
    with (tmp_path / "f.npy").open("wb") as file:
        np.lib.format.write_array(file, np.asarray(stored.astype(dtype), order=order), version)
    fields = read_pose_fields(tmp_path / "f.npy")
    part_maps = read_stored_part_maps(tmp_path / "f.npy", FIVE)
    assert part_maps.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    for maps in (read_part_maps(tmp_path / "f.npy", FIVE), part_map_values(part_maps)):
        assert maps.dtype == np.float32
        for part, group in enumerate(FIVE.groups):
            for i in range(3):
                for j in range(2):
                    assert maps[part, i, j] == max(fields[channel, i, j] for channel in group)


def test_part_maps_of_fields_are_their_groups(tmp_path: Path, fields: np.ndarray) -> None:
    write_pose_fields(tmp_path / "f.npy", fields, quantised=False)
    np.testing.assert_array_equal(read_part_maps(tmp_path / "f.npy", FIVE), group_fields(fields, FIVE))


BAD_FIELDS = {
    "channels": (np.zeros((35, 3, 3), np.float32), r"\[36, h, w\].*got shape \[35, 3, 3\]"),
    "dimensions": (np.zeros((36, 3), np.float32), r"got shape \[36, 3\]"),
    "empty": (np.zeros((36, 0, 3), np.float32), r"got shape \[36, 0, 3\]"),
    "type": (np.zeros((36, 3, 3), np.int64), "float or uint8, got int64"),
    "nan": (np.full((36, 3, 3), np.nan), "NaN or infinity in channel 0"),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_wrong_fields_are_refused_by_name(tmp_path: Path, case: str) -> None:
    array, message = BAD_FIELDS[case]
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(LabelError, match=rf"bad\.npy.*{message}"):
        read_pose_fields(tmp_path / "bad.npy")


def test_missing_truncated_and_foreign_files_are_refused_by_name(tmp_path: Path, fields: np.ndarray) -> None:
    with pytest.raises(LabelError, match=r"gone\.npy does not exist"):
        read_pose_fields(tmp_path / "gone.npy")
    np.save(tmp_path / "whole.npy", fields)
    data = (tmp_path / "whole.npy").read_bytes()
    for name, content in {"half": data[: len(data) // 2], "header": data[:20], "none": b"", "text": b"hello"}.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
        with pytest.raises(LabelError, match=rf"Cannot read label file .*{name}\.npy.*Make it again"):
            read_pose_fields(tmp_path / f"{name}.npy")
    np.savez(tmp_path / "many.npz", fields)
    with pytest.raises(LabelError, match="is an archive"):
        read_pose_fields(tmp_path / "many.npz")


class Trap:
    """Unpickling it would leave a mark."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("unpickled.mark"),)


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "objects.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(LabelError, match=r"objects\.npy.*got something pickled"):
        read_part_maps(tmp_path / "objects.npy", FIVE)
    assert not Path("unpickled.mark").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 3), 8), r"expected labels 0\.\.5 .*got 8\.\.8.*another K"),
        (np.full((3, 3), -1), r"got -1\.\.-1"),
        (np.zeros((3, 3)), "got shape .* of float64"),
    ],
)
def test_label_maps_of_another_k_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "map.npy", array)
    for read in (lambda p: read_label_map(p, 5), lambda p: read_part_maps(p, FIVE)):
        with pytest.raises(LabelError, match=message):
            read(tmp_path / "map.npy")


def test_a_png_that_is_none_or_has_colours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (3, 3)).save(tmp_path / "b.png")
    with pytest.raises(LabelError, match=r"a\.png: expected a PNG"):
        read_label_map(tmp_path / "a.png", 5)
    with pytest.raises(LabelError, match=r"b\.png: expected a label map"):
        read_label_map(tmp_path / "b.png", 5)


def test_a_full_disk_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, fields: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "label.npy"
    write_pose_fields(path, fields)
    before = path.read_bytes()

    def full(file: Path, data: bytes) -> None:
        with file.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LabelError, match=r"label\.npy.*[Nn]o space left"):
        write_pose_fields(path, fields * 0)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["label.npy"]


def test_wrong_fields_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"\[36, h, w\]"):
        write_pose_fields(tmp_path / "x.npy", np.zeros((5, 3, 3)))
    assert not list(tmp_path.iterdir())


# --- scale, place of the axes, declared sizes ---

OTHER_SCALES = {
    "0 to 255": (lambda f: f * 255, r"values in \[0, 1\], got up to 25\d.*Divide them by their scale"),
    "percent": (lambda f: f * 100, "Divide them by their scale"),
    "bytes of 0 and 1": (lambda f: (f > 0.5).astype(np.uint8), "255 means 1, got 0 and 1 only. Multiply them by 255"),
    "truth": (lambda f: f > 0.5, "as float or uint8, got bool. Save values in"),
    "whole numbers": (lambda f: (f * 255).astype(np.int32), "as float or uint8, got int32"),
    "channels last": (lambda f: f.transpose(1, 2, 0), r"got shape \[5, 3, 36\]. Put the channels first: array.transp"),
    "a batch of one": (lambda f: f[None], r"got shape \[1, 36, 5, 3\]"),
    "minus infinity": (lambda f: np.log(f * 0), "NaN or infinity"),
}


@pytest.mark.parametrize("case", OTHER_SCALES)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_another_scale_or_order_is_refused_by_every_reader(tmp_path: Path, fields: np.ndarray, case: str) -> None:
    change, message = OTHER_SCALES[case]
    np.save(tmp_path / "other.npy", change(fields))
    for read in (
        read_pose_fields,
        lambda path: read_part_maps(path, FIVE),
        lambda path: read_stored_part_maps(path, FIVE),
    ):
        with pytest.raises(LabelError, match=rf"other\.npy: .*{message}"):
            read(tmp_path / "other.npy")


def test_what_is_written_is_never_refused(tmp_path: Path, fields: np.ndarray) -> None:
    for strength in (0, 0.001, 1 / 255, 0.0055, 0.006, 1):
        write_pose_fields(tmp_path / "f.npy", fields * np.float32(strength))
        np.testing.assert_allclose(read_pose_fields(tmp_path / "f.npy"), fields * strength, atol=1.5 / 255)


def test_a_label_on_its_side_is_refused() -> None:
    for nodes in ((9, 17), (8, 24), (9, 16)):
        with pytest.raises(LabelError, match=r"a\.npy has \d+x\d+ nodes, but a\.jpg has 128x64 .*Transpose .* EXIF"):
            check_upright("a.npy", nodes, "a.jpg", (128, 64))
    # All labels may have been made in images brought to one size, and a square says nothing.
    for nodes, size in (((17, 9), (128, 64)), ((17, 9), (64, 128)), ((9, 17), (64, 128)), ((16, 16), (128, 64)),
                        ((9, 17), (64, 64)), ((17, 17), (256, 64))):  # fmt: skip
        check_upright("a.npy", nodes, "a.jpg", size)


def test_a_header_that_announces_more_than_the_file_holds_makes_nothing(tmp_path: Path) -> None:
    tracemalloc.start()
    for shape in ("(36, 100000, 100000)", "(36, 1" + "0" * 300 + ", 2)", "(36, -1, -1)", "(36, 5)"):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
        (tmp_path / "f.npy").write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(100))
        with pytest.raises(LabelError, match=r"Cannot read label file .*f\.npy.*Make it again"):
            read_pose_fields(tmp_path / "f.npy")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_label_is_a_typed_error_or_sound(tmp_path: Path, data: st.DataObject) -> None:
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(0).random((36, 3, 2), np.float32))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    (tmp_path / "f.npy").write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    with contextlib.suppress(LabelError):
        read = read_pose_fields(tmp_path / "f.npy")
        assert read.shape[0] == 36
        assert 0 <= read.min() <= read.max() <= 1


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP"])
def test_a_label_map_is_a_png_whatever_its_name(tmp_path: Path, form: str) -> None:
    Image.new("L", (3, 4)).save(tmp_path / "map.png", form)
    with pytest.raises(LabelError, match=r"map\.png: expected a PNG"):
        read_label_map(tmp_path / "map.png", 5)
