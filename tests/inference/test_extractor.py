"""Every kind of image gives the same embedding, in order, whatever the batch size; storage keeps it."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from partreid.errors import ConfigError, DataError, PartReIDError, ShapeError
from partreid.functional.distance import part_distances
from partreid.inference.embedding_file import save_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import walk
from partreid.inference.storage import load_embeddings
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings, ReIDImage

PREPROCESS = PreprocessConfig(height=64, width=32)


def build(batch_size: int = 64, precision: Any = "auto") -> PartExtractor:
    torch.manual_seed(1)
    model = BPBReID(ModelConfig(backbone="resnet18", parts="five"), 3)
    torch.nn.init.normal_(model.part_classifier.classifier.weight, std=0.1)
    runtime = RuntimeConfig(device="cpu", batch_size=batch_size, precision=precision)
    return PartExtractor(model, PREPROCESS, runtime=runtime)


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    return build()


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((64, 32), (80, 41), (30, 30), (64, 32))]


@pytest.fixture(scope="module")
def folder(arrays: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in (2, 0, 3, 1):  # written in another order than the names'
        Image.fromarray(arrays[i]).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def _equal(a: PartEmbeddings, b: PartEmbeddings) -> bool:
    return torch.allclose(a.vectors, b.vectors, atol=1e-5) and torch.equal(a.visibility, b.visibility)


def test_files_arrays_pil_entries_and_folders_agree(
    extractor: PartExtractor, arrays: list[np.ndarray], folder: Path
) -> None:
    expected = extractor.embed(arrays)
    assert expected.slots == extractor.slots == ("foreground", "head", "arms", "torso", "legs", "feet")
    assert len(expected.validate()) == 4
    files = [folder / f"{i}.png" for i in range(4)]
    for images in (
        files,
        [str(file) for file in files],
        [Image.fromarray(array) for array in arrays],
        [ReIDImage(file, 1, 0) for file in files],
        folder,
        str(folder),
        [folder],
        [arrays[0], files[1], Image.fromarray(arrays[2]), ReIDImage(files[3], 1, 0)],
        tuple(files),
        np.array([str(file) for file in files]),  # a column of a table
        np.array(files, object),
    ):
        assert _equal(extractor.embed(images), expected)
    for one in (files[1], str(files[1]), arrays[1], Image.fromarray(arrays[1]), ReIDImage(files[1], 1, 0)):
        assert _equal(extractor.embed(one), expected[1])
    assert _equal(extractor.embed(np.stack([arrays[3], arrays[0]])), expected[[3, 0]])


def test_order_is_kept(extractor: PartExtractor, arrays: list[np.ndarray]) -> None:
    expected = extractor.embed(arrays)
    assert not _equal(expected[0], expected[3])
    assert _equal(extractor.embed(arrays[::-1]), expected[::-1])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_changes_nothing(batch_size: int, arrays: list[np.ndarray]) -> None:
    small = build(batch_size)
    assert [len(output.embeddings) for output in small.outputs(arrays)] == ([1] * 4 if batch_size == 1 else [3, 1])
    assert _equal(small.embed(arrays), build().embed(arrays))


def test_modes_of_pil_images(extractor: PartExtractor, arrays: list[np.ndarray], tmp_path: Path) -> None:
    color = Image.fromarray(arrays[0])
    clear = color.convert("RGBA")
    clear.putalpha(100)
    assert _equal(extractor.embed(clear), extractor.embed(color))  # transparency is dropped, as from a file
    grey = color.convert("L")
    assert _equal(extractor.embed(grey), extractor.embed(grey.convert("RGB")))
    for image in (clear, grey, color.convert("P")):
        image.save(tmp_path / "a.png")
        assert _equal(extractor.embed(tmp_path / "a.png"), extractor.embed(image))
    deep = Image.fromarray(np.full((64, 32), 40_000, np.uint16))
    with pytest.raises(DataError, match=r"8 bits a channel.*I;16"):
        extractor.embed(deep)
    deep.save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits"):
        extractor.embed(tmp_path / "deep.png")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 32, 3), np.float32), r"uint8 array \[H, W, 3\] in RGB order, got float32 \(64, 32, 3\)"),
        (np.zeros((64, 32), np.uint8), r"got uint8 \(64, 32\)"),
        (np.zeros((64, 32, 4), np.uint8), r"got uint8 \(64, 32, 4\)"),
        (np.zeros((3, 64, 32), np.uint8), r"got uint8 \(3, 64, 32\)"),
        (np.zeros((0, 32, 3), np.uint8), r"shape \(0, 32, 3\)"),
        ([3], r"Image #0: .*got int"),
        (3, r"got int"),
        ([torch.zeros(3, 64, 32)], r"got a tensor of float32.*take \(255 \* image\)\.round\(\)\.to\(torch\.uint8\)"),
        ({"a.jpg", "b.jpg"}, r"has no order"),
        (b"\xff\xd8", r"got bytes\. Of a file's bytes take Image\.open"),
        (io.BytesIO(b"\xff\xd8"), r"got BytesIO\. Of"),
        (
            np.ma.masked_array(np.zeros((64, 32, 3), np.uint8), mask=np.eye(64, 32)[:, :, None] * [1, 1, 1]),
            "masked in part",
        ),
    ],
)
def test_what_is_no_image(extractor: PartExtractor, image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        extractor.embed(image)


def test_folders_and_files_that_cannot_be_read(extractor: PartExtractor, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image"):
        extractor.embed(tmp_path)
    with pytest.raises(DataError, match=r"Cannot read image .*nowhere\.jpg: No such file"):
        extractor.embed(tmp_path / "nowhere.jpg")
    (tmp_path / "half.png").write_bytes((folder / "0.png").read_bytes()[:500])
    with pytest.raises(DataError, match=r"half\.png is a damaged image"):
        extractor.embed([folder / "0.png", tmp_path / "half.png"])
    assert [Path(str(p)).name for p in walk(folder)] == ["0.png", "1.png", "2.png", "3.png"]


def test_outputs_are_on_the_cpu_in_float32_in_every_precision(arrays: list[np.ndarray]) -> None:
    half = build(precision="bfloat16")
    output = next(half.outputs(arrays))
    assert {output.attention.dtype, output.embeddings.vectors.dtype, output.features.concat.dtype} == {torch.float32}
    exact = build().embed(arrays)
    assert not torch.equal(output.embeddings.vectors, exact.vectors)
    cosine = torch.cosine_similarity(output.embeddings.vectors[:, 0], exact.vectors[:, 0])
    assert float(cosine.min()) > 0.99
    assert not half.model.training


def test_embeddings_can_be_trained_upon(extractor: PartExtractor, arrays: list[np.ndarray]) -> None:
    embeddings = extractor.embed(arrays)
    weight = torch.ones(embeddings.width, requires_grad=True)
    (embeddings.vectors * weight).sum().backward()
    assert weight.grad is not None


def test_a_checkpoint_gives_the_same_extractor(
    extractor: PartExtractor, arrays: list[np.ndarray], tmp_path: Path
) -> None:
    save_checkpoint(Checkpoint(extractor.model, PREPROCESS), tmp_path / "model")
    loaded = PartExtractor.from_pretrained(tmp_path / "model", runtime=RuntimeConfig(device="cpu"))
    assert loaded.preprocess == PREPROCESS
    assert torch.equal(loaded.embed(arrays).vectors, extractor.embed(arrays).vectors)


def test_storage_round_trip(tmp_path: Path) -> None:
    embeddings = PartEmbeddings(torch.randn(3, 2, 4).transpose(0, 0)[::1], torch.rand(3, 2), ("foreground", "Kopf, ü"))
    names = ["a b.jpg", "ü.png", ""]
    path = save_embeddings(tmp_path / "deep" / "e.safetensors", embeddings, names=names)
    loaded, loaded_names = load_embeddings(path)
    assert torch.equal(loaded.vectors, embeddings.vectors)
    assert torch.equal(loaded.visibility, embeddings.visibility)
    assert (loaded.slots, loaded_names) == (embeddings.slots, tuple(names))
    sliced = embeddings.select("Kopf, ü")[::2]
    save_embeddings(path, sliced, names=names[::2])
    assert torch.equal(load_embeddings(path)[0].vectors, sliced.vectors)
    assert [p.name for p in path.parent.iterdir()] == ["e.safetensors"]
    with pytest.raises(ShapeError, match="Expected 3 names, one per image, got 2"):
        save_embeddings(path, embeddings, names=names[:2])


def test_files_that_are_no_embeddings(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    with pytest.raises(DataError, match=r"no file .*e\.safetensors"):
        load_embeddings(path)
    embeddings = PartEmbeddings(torch.randn(3, 2, 4), torch.rand(3, 2), ("foreground", "head"))
    save_embeddings(path, embeddings, names=["a", "b", "c"])
    whole = path.read_bytes()
    tensors = {"vectors": torch.zeros(3, 2, 4), "visibility": torch.zeros(3, 2)}
    slots, names = '["foreground", "head"]', '["a", "b", "c"]'
    harm: list[Any] = [
        whole[:-10],
        b"",
        b"nonsense",
        (tensors, {}),
        (tensors, {"slots": slots, "names": "["}),
        (tensors, {"slots": "3", "names": names}),
        (tensors, {"slots": slots, "names": '["a"]'}),
        (tensors, {"slots": '["foreground"]', "names": names}),
        ({"vectors": torch.zeros(3, 2, 4)}, {"slots": slots, "names": names}),
    ]
    for content in harm:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save_file(content[0], path, content[1])
        with pytest.raises(DataError, match=r"e\.safetensors is not an intact file of embeddings"):
            load_embeddings(path)
    with pytest.raises(DataError):
        load_embeddings(tmp_path)


def test_no_images_give_no_rows(extractor: PartExtractor) -> None:
    expected = extractor.embed(np.zeros((1, 64, 32, 3), np.uint8))
    for nothing in ([], (), iter(()), np.zeros((0, 64, 32, 3), np.uint8), torch.zeros(0, 3, 64, 32, dtype=torch.uint8)):
        none = extractor.embed(nothing)
        assert none.shape == (0, *expected.shape[1:])
        assert (none.slots, none.model, none.compare_normalized) == (
            expected.slots,
            expected.model,
            expected.compare_normalized,
        )
    assert len(PartEmbeddings.cat([expected, none])) == 1


def test_tensors_and_opencv_arrays(extractor: PartExtractor, arrays: list[np.ndarray], folder: Path) -> None:
    expected = extractor.embed([arrays[0], arrays[3]])
    tensor = torch.from_numpy(np.stack([arrays[0], arrays[3]])).permute(0, 3, 1, 2)
    bgr = [arrays[0][:, :, ::-1], arrays[3][:, :, ::-1]]
    for images, order in (
        (tensor, "rgb"),
        (list(tensor), "rgb"),
        (tensor.permute(0, 2, 3, 1), "rgb"),
        (tensor.flip(1), "bgr"),
        (bgr, "bgr"),
        (np.stack(bgr), "bgr"),
        ([folder / "0.png", Image.fromarray(arrays[3])], "bgr"),  # these know their own order
    ):
        assert _equal(extractor.embed(images, order=order), expected)
        assert _equal(extractor(images, order=order), expected)
    assert not _equal(extractor.embed(bgr), expected)
    with pytest.raises(ConfigError, match="Unknown order 'brg'. Did you mean 'rgb'"):
        extractor.embed(bgr, order="BRG")  # type: ignore[arg-type]


FRAME = np.random.default_rng(3).integers(0, 255, (100, 120, 3), dtype=np.uint8)
BOXES = [[4.0, 6.0, 40.0, 90.0], [60.0, 8.0, 95.5, 88.0], [-10.0, 0.0, 30.0, 70.0]]


def test_boxes_of_a_frame(extractor: PartExtractor, tmp_path: Path) -> None:
    expected = extractor.embed([FRAME[6:90, 4:40], FRAME[8:88, 60:96], FRAME[:70, :30]])
    Image.fromarray(FRAME).save(tmp_path / "frame.png")
    tensor = torch.from_numpy(FRAME).permute(2, 0, 1)
    for frame in (FRAME, tmp_path / "frame.png", str(tmp_path / "frame.png"), Image.fromarray(FRAME), tensor):
        assert _equal(extractor.embed_boxes(frame, BOXES), expected)
    for boxes in (np.array(BOXES), torch.tensor(BOXES), SimpleNamespace(xyxy=np.array(BOXES, np.float32))):
        assert _equal(extractor.embed_boxes(FRAME, boxes), expected)  # type: ignore[arg-type]
    assert _equal(extractor.embed_boxes(FRAME[:, :, ::-1], BOXES, order="bgr"), expected)
    for nothing in ([], np.zeros((0, 4)), SimpleNamespace(xyxy=np.empty((0, 4), np.float32))):
        assert extractor.embed_boxes(FRAME, nothing).shape == (0, *expected.shape[1:])  # type: ignore[arg-type]


def test_a_wrong_box_costs_its_row_and_not_the_frame(extractor: PartExtractor) -> None:
    wrong = {1: [500, 1, 520, 9], 3: [10, 10, 10, 60], 4: [np.nan, 1, 5, 9], 6: [119, 90, 110, 80]}
    right = iter(BOXES)
    boxes = [wrong.get(number) or next(right) for number in range(7)]
    with pytest.warns(UserWarning, match=r"4 of 7 boxes.*Box 1 \(500, 1, 520, 9\) lies outside.*Box 3.*Box 4.*Box 6"):
        found = extractor.embed_boxes(FRAME, boxes)
    assert _equal(found[[0, 2, 5]], extractor.embed_boxes(FRAME, BOXES))
    assert not found[list(wrong)].vectors.any()
    assert not found[list(wrong)].visibility.any()
    assert part_distances(found, found)[1].isinf().all()  # not even near another box that shows nothing
    with pytest.raises(DataError, match=r"Box 1 .*Box 6"):
        extractor.embed_boxes(FRAME, boxes, on_error="raise")
    with pytest.warns(UserWarning, match="1 of 1 boxes"):
        assert extractor.embed_boxes(FRAME, [[500, 1, 520, 9]]).visibility.tolist() == [[0] * 6]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0.1, 0.1, 0.3, 0.9], [0.5, 0.1, 0.7, 0.8]], r"fractions of the frame.*boxes \* \[120, 100, 120, 100\]"),
        (
            [[60, 8, 35, 80], [4, 6, 36, 84]],
            r"x, y, width, height: \(60, 8, 35, 80\).*boxes\[:, 2:\] \+= boxes\[:, :2\]",
        ),
        ([4, 6, 40, 90], r"got one box. Write \[box\]"),
        ([[4, 6, 40]], r"boxes \[N, 4\]"),
        ("all", r"boxes \[N, 4\] of numbers.*got str"),
        (None, r"boxes \[N, 4\]"),
        (FRAME, r"embed_boxes\(frame, boxes\)"),
    ],
)
def test_boxes_that_are_wrong_as_a_whole(extractor: PartExtractor, boxes: Any, message: str) -> None:
    with pytest.raises(PartReIDError, match=message):
        extractor.embed_boxes(FRAME, boxes)


def test_what_is_saved_comes_back(extractor: PartExtractor, arrays: list[np.ndarray], tmp_path: Path) -> None:
    folder = extractor.save_pretrained(tmp_path / "model")
    again = PartExtractor.from_pretrained(folder, device="cpu", batch_size=2)
    assert again.fingerprint == extractor.fingerprint
    assert _equal(again.embed(arrays), extractor.embed(arrays))
    changed = PartExtractor.from_pretrained(folder, overrides={"visibility": "continuous"}, device=torch.device("cpu"))
    changed.metrics["mAP"] = 0.5
    changed.save_pretrained(folder)  # takes the place of the former
    kept = PartExtractor.from_pretrained(folder)
    assert kept.fingerprint == changed.fingerprint != extractor.fingerprint
    assert kept.metrics == {"mAP": 0.5}


def test_where_it_runs_is_said_once(extractor: PartExtractor, tmp_path: Path) -> None:
    folder = extractor.save_pretrained(tmp_path / "model")
    with pytest.raises(
        ConfigError, match=r"either runtime=RuntimeConfig\(...\) or device=..., batch_size=..., not both"
    ):
        PartExtractor.from_pretrained(folder, device="cpu", batch_size=4, runtime=RuntimeConfig())
    with pytest.raises(ConfigError, match="Device 'cuda:7' cannot be used here"):
        PartExtractor.from_pretrained(folder, device=7)
    with pytest.raises(ConfigError, match="batch_size = 0"):
        PartExtractor.from_pretrained(folder, batch_size=0)
    with pytest.raises(ConfigError, match="takes no overrides"):
        PartExtractor.from_pretrained(load_checkpoint(folder), overrides=["visibility=argmax"])
