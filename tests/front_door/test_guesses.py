"""Lines as a newcomer types them, without having read anything: each is right, or its error holds the right line.

The newcomers are five: a researcher who knows torchreid and fast-reid, an engineer of trackers, one of vector stores, a
user of sentence-transformers, and one of Hugging Face.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import partreid
from partreid.base_config import ConfigModel
from partreid.datasets.readers import read_dataset
from partreid.errors import PartReIDError
from partreid.objects import Guided
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.many import search_many
from partreid.tracking.tracklets import Tracklet, merge_tracklet
from partreid.training.train_config import TrainConfig
from partreid.types import Hit
from tests.api.public_api import DOORS
from tests.api.public_api import names as names_at

SLOTS = ("foreground", "head", "torso", "legs")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights."""
    torch.manual_seed(0)
    config = partreid.ModelConfig(backbone="resnet18", parts="five", embedding_dim=8)
    folder = tmp_path_factory.mktemp("runs") / "light"
    model = partreid.build_network(config, 3)
    partreid.PartExtractor(model, partreid.PreprocessConfig(height=64, width=32)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def names(run: Path, blocks: Path) -> dict[str, Any]:
    """What a newcomer has at hand."""
    random = np.random.default_rng(0)
    extractor = partreid.PartExtractor.from_pretrained(run, device="cpu", batch_size=4)
    images = [random.integers(0, 255, (64, 32, 3), dtype=np.uint8) for _ in range(3)]
    files = [str(run.parent / f"{number}.png") for number in range(3)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    boxes = [[4.0, 6.0, 40.0, 90.0], [60.0, 8.0, 95.0, 88.0]]
    distmat = np.array([[0.1, 0.9, 0.8], [0.7, 0.2, 0.9]])
    return {
        **{name: getattr(partreid, name) for name in partreid.__all__},
        **{"partreid": partreid, "np": np, "torch": torch, "Path": Path, "read_dataset": read_dataset},
        **{"MatchCalibration": MatchCalibration, "Tracklet": Tracklet, "merge_tracklet": merge_tracklet},
        **{
            "search_many": search_many,
            "TrainConfig": TrainConfig,
            "Hit": Hit,
            "extractor": extractor,
            "images": images,
            "files": files,
        },
        "frame": random.integers(0, 255, (100, 120, 3), dtype=np.uint8),
        "boxes": boxes,
        "detections": SimpleNamespace(xyxy=np.array(boxes), confidence=np.ones(2)),
        "tensor": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        "e": extractor.embed(images),
        "run": run,
        "data": blocks,
        "dataset": read_dataset(blocks),
        "distmat": distmat,
        "pids": ([1, 2], [1, 2, 3]),
        "scores": partreid.evaluate_ranking(distmat, [1, 2], [1, 2, 3]),
    }


@pytest.fixture
def at_hand(names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The same with a gallery of its own, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    gallery = partreid.Gallery(extractor=names["extractor"])
    times, tracks = [1_790_000_000.0 + number for number in range(3)], [{"track": number} for number in range(3)]
    gallery.add(names["e"], ["anna", "ben", "carla"], cameras=[1, 3, 3], times=times, metadata=tracks)
    return {**names, "gallery": gallery, "result": gallery.search(names["e"], k=2)}


def close(a: partreid.PartEmbeddings, b: partreid.PartEmbeddings) -> bool:
    """Whether two are the same up to rounding."""
    return torch.allclose(a.vectors, b.vectors, atol=1e-5) and torch.equal(a.visibility, b.visibility)


RIGHT: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    # found by a second newcomer
    'extractor.embed(images, order="BGR")': lambda got, has: len(got) == len(has["e"]),
    "list(gallery)[0].id": lambda got, has: got == "anna",
    'gallery["ben"].items[0].id': lambda got, has: got == "ben",
    "search_many([gallery], images[0], k=1)[0][0].id": lambda got, has: got == "anna",
    'read_dataset("pedestrians").train_identities': lambda got, has: len(got) == 64,
    'partreid.load_embeddings(partreid.save_embeddings("e.safetensors", e))[1]':
        lambda got, has: tuple(got) == ("0", "1", "2"),
    # a model, and images
    "PartExtractor.from_pretrained()": lambda got, has: len(got.slots) > 1,
    'PartExtractor.from_pretrained("shipped")': lambda got, has: got.fingerprint != has["extractor"].fingerprint,
    'Gallery().embedder().fingerprint == PartExtractor.from_pretrained().fingerprint': lambda got, has: got is True,
    "PartExtractor.from_pretrained(run)": lambda got, has: got.fingerprint == has["extractor"].fingerprint,
    "PartExtractor.from_pretrained(str(run))": lambda got, has: got.fingerprint == has["extractor"].fingerprint,
    'PartExtractor.from_pretrained(run, device="cpu")': lambda got, has: str(got.device) == "cpu",
    'PartExtractor.from_pretrained(run, device=torch.device("cpu"))': lambda got, has: str(got.device) == "cpu",
    'PartExtractor.from_pretrained(run, device="auto")': lambda got, has: got.slots == has["extractor"].slots,
    'PartExtractor.from_pretrained(run, precision="bfloat16")': lambda got, has: got.runtime.precision == "bfloat16",
    "PartExtractor.from_pretrained(run, batch_size=2)": lambda got, has: close(got(has["images"]), has["e"]),
    "PartExtractor.from_pretrained(run, mirror=True)": lambda got, has: got.mirror,
    'PartExtractor.from_pretrained(run, overrides={"visibility": "continuous"})':
        lambda got, has: got.model.config.visibility == "continuous",
    'PartExtractor.from_pretrained(run, overrides="visibility=continuous")':
        lambda got, has: got.model.config.visibility == "continuous",
    "PartExtractor.from_pretrained(load_checkpoint(run))":
        lambda got, has: got.fingerprint == has["extractor"].fingerprint,
    "extractor(images)": lambda got, has: close(got, has["e"]),
    "extractor(files)": lambda got, has: close(got, has["e"]),
    "extractor(files[0])": lambda got, has: close(got, has["e"][0]),
    "extractor.embed(images)": lambda got, has: close(got, has["e"]),
    "extractor.embed(np.stack(images))": lambda got, has: close(got, has["e"]),
    "extractor.embed(tensor)": lambda got, has: close(got, has["e"]),
    "extractor.embed(tensor[0])": lambda got, has: close(got, has["e"][0]),
    "extractor.embed(list(tensor))": lambda got, has: close(got, has["e"]),
    "extractor.embed(images[0])": lambda got, has: close(got, has["e"][0]),
    'extractor.embed(images[0][:, :, ::-1], order="bgr")': lambda got, has: close(got, has["e"][0]),
    'extractor([image[:, :, ::-1] for image in images], order="bgr")': lambda got, has: close(got, has["e"]),
    "extractor.embed([])": lambda got, has: got.shape == (0, 6, 8) and got.model == has["e"].model,
    "extractor.slots": lambda got, has: got[:2] == ("foreground", "head"),
    "extractor.device": lambda got, has: str(got) == "cpu",
    "extractor.preprocess.size": lambda got, has: got == (64, 32),
    "repr(extractor)": lambda got, has: "BPBReID" in got and "64×32" in got and got.count("\n") < 4,
    # boxes of a frame
    "extractor.embed_boxes(frame, boxes)": lambda got, has: got.shape == (2, 6, 8) and close(
        got, has["extractor"]([has["frame"][6:90, 4:40], has["frame"][8:88, 60:95]])),
    "extractor.embed_boxes(frame, np.array(boxes))": lambda got, has: len(got) == 2,
    "extractor.embed_boxes(frame, torch.tensor(boxes))": lambda got, has: len(got) == 2,
    "extractor.embed_boxes(frame, detections)": lambda got, has: len(got) == 2,
    "extractor.embed_boxes(frame, detections.xyxy)": lambda got, has: len(got) == 2,
    "extractor.embed_boxes(frame, [])": lambda got, has: got.shape == (0, 6, 8),
    "extractor.embed_boxes(frame, np.empty((0, 4)))": lambda got, has: got.shape == (0, 6, 8),
    "extractor.embed_boxes(files[0], [[0, 0, 32, 64]])": lambda got, has: close(got, has["e"][0]),
    'extractor.embed_boxes(frame[:, :, ::-1], boxes, order="bgr")':
        lambda got, has: close(got, has["extractor"].embed_boxes(has["frame"], has["boxes"])),
    "extractor.embed_boxes(frame, [*boxes, [500, 10, 540, 90]])":
        lambda got, has: len(got) == 3 and not got.visibility[2].any() and not got.vectors[2].any(),
    # embeddings
    "e.shape": lambda got, has: got == (3, 6, 8),
    "e.device": lambda got, has: got == torch.device("cpu"),
    "e.dtype": lambda got, has: got == torch.float32,
    "e.cpu().numpy()": lambda got, has: got.shape == (3, 6, 8),
    "np.asarray(e)": lambda got, has: np.array_equal(got, has["e"].vectors.numpy()),
    'e["head"]': lambda got, has: got.shape == (3, 1, 8) and got.slots == ("head",),
    'e[["head", "torso"]]': lambda got, has: got.shape == (3, 2, 8),
    "e[0]": lambda got, has: len(got) == 1,
    "e[1:]": lambda got, has: len(got) == 2,
    "len(e)": lambda got, has: got == 3,
    "[one.shape for one in e]": lambda got, has: got == [(1, 6, 8)] * 3,
    'e.to("cpu", torch.float16).dtype': lambda got, has: got == torch.float16,
    "e.to(torch.float16).dtype": lambda got, has: got == torch.float16,
    "PartEmbeddings(np.ones((2, 4, 3)), np.ones((2, 4)))": lambda got, has: got.slots[0] == "slot_0",
    "PartEmbeddings(np.ones((2, 4, 3)))": lambda got, has: bool(got.visibility.all()),
    "part_distances(e, e)": lambda got, has: got.shape == (3, 3) and bool((got.diagonal() == 0).all()),
    "part_distances(e, e[:1], normalize=True)": lambda got, has: got.shape == (3, 1),
    "merge_tracklet(e)": lambda got, has: len(got) == 1,
    # galleries
    'Gallery("people")': lambda got, has: len(got) == 0 and got.store.location == "people",
    'Gallery(Path("people"), extractor=extractor)': lambda got, has: got.extractor is has["extractor"],
    "len(Gallery())": lambda got, has: got == 0,
    "len(gallery)": lambda got, has: got == 3,
    '"anna" in gallery': lambda got, has: got is True,
    'gallery.add(e, ["x", "y", "z"])': lambda got, has: "z" in has["gallery"],
    'gallery.add(e, ids=[7, 8, 9], cameras=3)': lambda got, has: has["gallery"].count(cameras=3) == 5,
    "gallery.add(e, np.arange(3))": lambda got, has: "0" in has["gallery"],
    'gallery.add(images, ["x", "y", "z"])': lambda got, has: "z" in has["gallery"],
    "gallery.count()": lambda got, has: got == 3,
    "gallery.count(cameras=3)": lambda got, has: got == 2,
    'gallery.get("anna").ids': lambda got, has: got == ["anna"],
    'gallery.delete(["anna"])': lambda got, has: got == 1,
    'gallery.delete(where={"cameras": [3]})': lambda got, has: got == 2,
    "gallery.search(e, k=2)": lambda got, has: len(got) == 3 and got.distances.shape == (3, 2),
    "gallery.search(images[0])[0][0].id": lambda got, has: got == "anna",
    "gallery.search(files[1], 1)[0][0].id": lambda got, has: got == "ben",
    'gallery.search(e, where={"cameras": [3]})[0][0].camera': lambda got, has: got == "3",
    "gallery.search(e, where=Filter(cameras=3)).distances.shape": lambda got, has: got == (3, 2),
    "gallery.search(e, k=5, cameras=[3])": lambda got, has: len(got[0]) == 2,
    "gallery.search(e, k=5, since=1_790_000_001)": lambda got, has: len(got[0]) == 2,
    'gallery.search(e, metadata={"track": 1})[0][0].metadata': lambda got, has: got == {"track": 1},
    "result[0][0].id": lambda got, has: got == "anna",
    "result[0][0].distance": lambda got, has: got == 0,
    "result[-1][0].rank": lambda got, has: got == 1,
    "[[hit.id for hit in hits] for hits in result][2][0]": lambda got, has: got == "carla",
    "len(result)": lambda got, has: got == 3,
    "result.ids[0][0]": lambda got, has: got == "anna",
    "result[:1].distances.shape": lambda got, has: got == (1, 2),
    # scores
    "evaluate_ranking(distmat, *pids).mAP": lambda got, has: got == 1,
    "evaluate_ranking(distmat.tolist(), *pids).rank1": lambda got, has: got == 1,
    "scores.rank1": lambda got, has: got == 1,
    "scores.rank5": lambda got, has: got == 1,
    "scores.rank10": lambda got, has: got == 1,
    "scores.mAP": lambda got, has: got == 1,
    "scores.mINP": lambda got, has: got == 1,
    "scores.rank(20)": lambda got, has: got == 1,
    'scores["mAP"]': lambda got, has: got == 1,
    "scores.cmc[0]": lambda got, has: got == 1,
    "repr(scores)": lambda got, has: "mAP 100.0 %" in got and len(got) < 300,
    'scores.summary()["rank1"]': lambda got, has: got == 1,
    # data, configurations
    "len(read_dataset(data).train)": lambda got, has: got == 24,
    "dataset.query[0].pid": lambda got, has: got == 11,
    "repr(dataset)": lambda got, has: "train: 24" in got,
    'TrainConfig(optimizer={"epochs": 3}).optimizer.epochs': lambda got, has: got == 3,
    'TrainConfig().override(["optimizer.epochs=3"]).optimizer.epochs': lambda got, has: got == 3,
    # saving
    'PartExtractor.from_pretrained(extractor.save_pretrained("saved")).fingerprint':
        lambda got, has: got == has["extractor"].fingerprint,
}  # fmt: skip
"""A line, and what it gives, judged with what is at hand."""

REFUSED: dict[str, str] = {
    'get_preset("light").epochs': "optimizer.epochs",
    'get_preset("light").optimizer.lr': "learning_rate",
    'e.save("x.safetensors")': "partreid.save_embeddings(path, embeddings)",
    'extractor.export("m.onnx")': 'partreid.export.export_model(run, "model.onnx")',
    # a model
    "PartExtractor(run)": "PartExtractor.from_pretrained(",
    'PartExtractor("org/name")': "PartExtractor.from_pretrained(",
    'PartExtractor(model_name="bpbreid", model_path=run)': "PartExtractor.from_pretrained",
    "PartExtractor()": "PartExtractor.from_pretrained",
    "PartExtractor.from_pretrained(None)": "hf:org/name",
    "PartExtractor.from_pretrained(3)": "hf:org/name",
    'PartExtractor.from_pretrained("hf:name")': "hf:org/name",
    'PartExtractor.from_pretrained(run, device_map="auto")': "device=",
    "PartExtractor.from_pretrained(run, torch_dtype=torch.float16)": "precision=",
    'PartExtractor.from_pretrained(run, dtype="float16")': "precision=",
    'PartExtractor.from_pretrained(run, precision="fp16")': "'float16'",
    'PartExtractor.from_pretrained(run, visibility="continuous")': "overrides=",
    "PartExtractor.from_pretrained(run, batchsize=8)": "batch_size=",
    "PartExtractor.from_pretrained(run, flip=True)": "mirror=",
    'PartExtractor.from_pretrained(run, revision="main")': "PartExtractor.from_pretrained(source",
    'PartExtractor.from_pretrained(run, "cpu")': "*, device",
    'PartExtractor.from_pretrained(run, device="cpu", runtime=extractor.runtime)': "either runtime=RuntimeConfig(...)",
    "PartExtractor.from_pretrained(run, overrides={'visiblity': 'argmax'})": 'visibility="argmax"',
    "PartExtractor.load(run)": "PartExtractor.from_pretrained(run)",
    "PartExtractor.from_exported(run)": "PartExtractor.from_pretrained(run)",
    "PartExtractor.from_checkpoint(run)": "PartExtractor.from_pretrained(run)",
    "extractor.encode(images)": ".embed(images)",
    "extractor.extract(images)": ".embed(images)",
    "extractor.extract_features(images)": ".embed(images)",
    "extractor.predict(images)": ".embed(images)",
    "extractor.forward(images)": ".embed(images)",
    "extractor.features(images)": ".embed(images)",
    "extractor.get_features(boxes, frame)": ".embed_boxes(frame, boxes)",
    "extractor.similarity(e, e)": "partreid.part_distances(a, b)",
    "extractor.config": ".model",
    "extractor.transform": ".preprocess",
    "extractor.image_size": ".preprocess",
    "extractor.parts": ".slots",
    "extractor.num_parts": "slots",
    "extractor.get_sentence_embedding_dimension()": ".embed(images)",
    'extractor.to("cuda")': 'PartExtractor.from_pretrained(run, device="cuda")',
    "extractor.cuda()": 'PartExtractor.from_pretrained(run, device="cuda")',
    "extractor.half()": 'precision="float16"',
    "extractor.eval()": "evaluation mode already",
    'extractor.save("saved")': ".save_pretrained(folder)",
    'extractor.push("org/name")': ".push_to_hub(repo_id)",
    "extractor.evaluate(data)": "partreid.evaluate(",
    # images
    "extractor.embed(3)": "a file, a PIL image or a uint8 array",
    "extractor.embed(None)": "a file, a PIL image or a uint8 array",
    "extractor(images, boxes)": ".embed_boxes(frame, boxes)",
    "extractor.embed(images, batch_size=2)": "PartExtractor.from_pretrained(run, batch_size=",
    "extractor.embed(images, convert_to_numpy=True)": ".numpy()",
    "extractor.embed(images, normalize_embeddings=True)": "normalize=True",
    "extractor.embed(images, show_progress_bar=True)": ".stream(images)",
    "extractor.embed(images, bgr=True)": "order=",
    "extractor.embed(tensor / 255)": "(255 * image).round().to(torch.uint8)",
    "extractor.embed(images[0] / 255.0)": "(255 * image).round().astype(np.uint8)",
    "extractor.embed(images[0].transpose(2, 0, 1))": "image.transpose(1, 2, 0)",
    "extractor.embed(images[0][:, :, 0])": "np.stack([image] * 3, axis=2)",
    'extractor.embed("nothing.jpg")': "nothing.jpg",
    "extractor.embed(e)": "got PartEmbeddings",
    "extractor.embed_boxes(boxes, frame)": "embed_boxes(frame, boxes",
    "extractor.embed_boxes(frame, bboxes=boxes)": "boxes=",
    "extractor.embed_boxes(frame, boxes[0])": "Write [box]",
    "extractor.embed_boxes(frame, np.array(boxes) / [120, 100, 120, 100])": "boxes * [120, 100, 120, 100]",
    "extractor.embed_boxes(frame, [[60, 8, 35, 80], [4, 6, 36, 84]])": "boxes[:, 2:] += boxes[:, :2]",
    "extractor.embed_boxes(frame, None)": "boxes [N, 4]",
    "extractor.embed_boxes(frame)": "embed_boxes(frame, boxes",
    'extractor.embed_boxes(frame, [[500, 1, 520, 9]], on_error="raise")': "outside the frame of 120×100",
    'extractor.embed_boxes(frame, boxes, on_error="skip")': "warn",
    # embeddings
    "e.features": ".vectors",
    "e.embeddings": ".vectors",
    "e.data": ".vectors",
    "e.last_hidden_state": ".vectors",
    "e.masks": ".visibility",
    "e.visibilty": ".visibility",
    "e.parts": ".slots",
    "e.dim": ".width",
    "e.cuda()": '.to("cuda")',
    "e.half()": ".to(dtype=torch.float16)",
    "e.tolist()": ".numpy()",
    "e.normalize()": ".normalized()",
    'e["hed"]': "'head'",
    "e[:, 0]": "e['foreground']",
    "e.T": "partreid.part_distances(a, b)",
    "e @ e": "partreid.part_distances(a, b)",
    "e.distances(e)": "partreid.part_distances(a, b)",
    "e.similarity(e)": "partreid.part_distances(a, b)",
    "e.cosine_similarity(e)": "partreid.part_distances(a, b)",
    "torch.cdist(e, e)": "partreid.part_distances(a, b)",
    "torch.cat([e, e])": "PartEmbeddings.cat([a, b])",
    "PartEmbeddings(e.vectors[:, 0])": "vectors[:, None]",
    "PartEmbeddings(features=e.vectors)": "vectors=",
    "part_distances(e.vectors, e.vectors)": "PartEmbeddings(vectors, visibility, slots)",
    "part_distances(images, images)": "extractor.embed(images)",
    "part_distances(e)": "part_distances(query, gallery",
    'part_distances(e, e, metric="cosine")': "normalize=True",
    'part_distances(e, e, "cosine")': "normalize",
    'MatchingConfig(metric="cosine")': "normalize",
    "MatchingConfig(visibility=3)": "geometric, ignore, product",
    # galleries
    'Gallery(":memory:")': "Gallery()",
    'Gallery(path="people")': "location=",
    'Gallery(persist_directory="people")': "location=",
    "Gallery(extractor)": 'Gallery("people", extractor=extractor)',
    "Gallery(e)": "gallery.add(embeddings, ids)",
    "Gallery(extractor=str(run))": "PartExtractor",
    'Gallery.load("people")': "Gallery.open(location)",
    'Gallery.connect("people")': "Gallery.open(location)",
    "gallery.add(e)": "Gallery.add(embeddings, ids",
    'gallery.add(e, "abc")': "Expected a list of ids",
    "gallery.add(e[0], 7)": "ids",
    'gallery.add(e, ["x", "y", "z"], camera=1)': "cameras=",
    'gallery.add(e, ["x", "y", "z"], metadatas=[{}] * 3)': "metadata=",
    'gallery.add(e, ["x", "y", "z"], payload=[{}] * 3)': "metadata=",
    'gallery.add(e, ["x", "y", "z"], timestamps=[1, 2, 3])': "times=",
    'gallery.add(e.vectors, ["x", "y", "z"])': "PartEmbeddings(vectors, visibility, slots)",
    'gallery.add(e, ["anna", "y", "z"])': "upsert",
    'gallery.insert(e, ["x", "y", "z"])': ".add(embeddings, ids)",
    "gallery.append(e)": ".add(embeddings, ids)",
    "gallery.query(e)": ".search(query)",
    "gallery.find(e)": ".search(query)",
    "gallery.knn(e)": ".search(query)",
    'gallery.remove("anna")': ".delete()",
    'gallery.delete("anna")': "['anna']",
    "gallery.delete()": "by ids, or by where=Filter(...)",
    "gallery.size()": "len(gallery)",
    "gallery.ntotal": "len(gallery)",
    "gallery.items()": ".records()",
    "gallery.ids": ".records()",
    'gallery.save("people")': "Gallery(location)",
    "gallery.clear()": ".delete(where=Filter())",
    "gallery.search(None)": "Expected PartEmbeddings or images",
    "partreid.embed(files)": "PartExtractor.from_pretrained().embed(images)",
    "partreid.extract_features(files)": "PartExtractor.from_pretrained().embed(images)",
    "partreid.compare(files[0], files[1])": "Embed images with extractor.embed(images)",
    "e.legs": 'embeddings["legs"]',
    "gallery.search()": "Gallery.search(query",
    "gallery.search(e.vectors)": "PartEmbeddings(vectors, visibility, slots)",
    "gallery.search(np.zeros((3, 8)))": "PartEmbeddings(vectors, visibility, slots)",
    "gallery.search(e, top_k=2)": "k=",
    "gallery.search(e, limit=2)": "k=",
    "gallery.search(e, n_results=2)": "k=",
    'gallery.search(e, filter={"cameras": 3})': "where=",
    "gallery.search(e, camera=3)": "cameras=",
    'gallery.search(e, where={"camera": 3})': "cameras",
    'gallery.search(e, where={"track": 1})': "metadata={'track': ...}",
    'gallery.search(e, where="camera = 3")': 'where={"cameras": [3]}',
    "gallery.search(e, k=0)": "k is a whole number of at least 1",
    'gallery.search(e, matching="cosine")': "MatchingConfig",
    "gallery.search(e, where=lambda item: True)": 'where={"cameras": [3]}',
    'result["ids"]': "result.ids",
    "result.matches": "result[0]",
    "result.hits": "result[0]",
    "result.scores": ".distances",
    "result[0][0].score": ".distance",
    "result[0][0].similarity": ".distance",
    "result[0][0].name": ".id",
    "result[0][0].payload": ".metadata",
    "result[0][0].probability": "MatchCalibration.load(run).of_search(result)",
    "Filter(camera=3)": "'cameras'",
    # scores
    "evaluate_ranking(distmat, q_pids=[1, 2], g_pids=[1, 2, 3])": "query_pids=",
    "evaluate_ranking(distmat)": "evaluate_ranking(distances, query_pids, gallery_pids",
    "evaluate_ranking(distmat, *pids, topk=5)": "max_rank=",
    "evaluate_ranking(e, *pids)": "distances",
    "cmc, mAP = evaluate_ranking(distmat, *pids)": "result.mAP",
    "scores.map": ".mAP",
    "scores.top1": ".rank1",
    "scores.rank20": ".rank(k)",
    "scores.to_dict()": ".summary()",
    "scores.metrics": ".summary()",
    'scores["map"]': "mAP",
    "scores.ranks": ".cmc",
    # data, configurations
    "dataset.test": ".gallery",
    "dataset.num_train_pids": ".train_identities",
    "dataset.querys": ".query",
    "TrainConfig(epochs=3)": "'optimizer.epochs'",
    'TrainConfig().override(["epochs=3"])': "optimizer.epochs=3",
    'read_dataset("nowhere")': "nowhere",
    "read_dataset(None)": "spec as str | Path",
    # names of other libraries
    "partreid.compute_distance_matrix(e.vectors, e.vectors)": "partreid.part_distances(a, b)",
    "partreid.distance.compute_distance_matrix(e, e)": "partreid.part_distances(a, b)",
    "partreid.cosine_similarity(e, e)": "partreid.part_distances(a, b)",
    "partreid.cos_sim(e, e)": "partreid.part_distances(a, b)",
    "partreid.functional.cdist(e, e)": "partreid.part_distances(a, b)",
    "partreid.metrics.evaluate_rank(distmat, *pids)": "or partreid.evaluate_ranking(distances, query_pids",
    "partreid.evaluate_rank(distmat, *pids)": "partreid.evaluate_ranking(distances, query_pids",
    "partreid.evaluation.eval_market1501(distmat, *pids)": "partreid.evaluate_ranking(distances, query_pids",
    "partreid.eval_func(distmat, *pids)": "partreid.evaluate_ranking(distances, query_pids",
    "from partreid import R1_mAP_eval": "partreid.evaluate_ranking(distances, query_pids",
    "from partreid import FeatureExtractor": "partreid.PartExtractor.from_pretrained(run)",
    "from partreid.inference import FeatureExtractor": "partreid.PartExtractor.from_pretrained(run)",
    "partreid.ReIDModel.from_pretrained(run)": "partreid.PartExtractor.from_pretrained(run)",
    "from partreid import ReID": "partreid.PartExtractor.from_pretrained(run)",
    "from partreid import SentenceTransformer": "partreid.PartExtractor.from_pretrained(run)",
    "partreid.load_model(run)": "partreid.PartExtractor.from_pretrained(run)",
    "partreid.load(run)": "partreid.PartExtractor.from_pretrained(run)",
    "partreid.from_pretrained(run)": "partreid.PartExtractor.from_pretrained(run)",
    "partreid.Evaluator(run, data)": "partreid.evaluate(model, data)",
    "partreid.benchmark(run, data)": "partreid.evaluate(model, data)",
    "partreid.Dataset(data)": "partreid.read_dataset(data)",
    "partreid.load_dataset(data)": "partreid.read_dataset(data)",
    "from partreid.datasets import ImageDataManager": "partreid.read_dataset(data)",
    'partreid.data.ImageDataManager(root="data")': "partreid has no 'data'",
    "from partreid import VectorStore": 'partreid.Gallery("people")',
    'partreid.Index("people")': 'partreid.Gallery("people")',
    'partreid.PersistentClient("people")': 'partreid.Gallery("people")',
    "from partreid.retrieval import Collection": 'partreid.Gallery("people")',
    "from partreid import Galery": "'Gallery'",
    'partreid.train("light", data, "run")': "partreid.Trainer(",
    "from partreid.training import ImageTripletEngine": "partreid.Trainer(",
    "partreid.fit(data)": "partreid.Trainer(",
    'partreid.build_model("resnet50", 751)': "partreid.build_network(config, identities)",
    "partreid.load_pretrained_weights(None, run)": "partreid.load_checkpoint(run)",
    "partreid.get_cfg()": "partreid.get_preset(name)",
    "partreid.mean_embedding(e)": "partreid.merge_tracklet(embeddings)",
    "partreid.rerank(e, e)": "partreid.evaluate(model, data, rerank=True)",
    "partreid.list_presets()": "list(partreid.PRESETS)",
    "partreid.list_models()": "partreid.models.BACKBONES.names()",
    "partreid.losses.GiLtLoss()": "objective.gilt",
    "partreid.losses.TripletLoss(margin=0.3)": "objective.gilt",
    "partreid.viz.visualize_ranked_results(1)": "partreid.reports.draw_rankings_of(model, data)",
    "partreid.seed_everything(1)": "override(seed=1)",
    'Trainer(get_preset("light").override("batch.identities_per_batch=2"), data, "runs/x").train()': ".fit()",
    'Trainer(get_preset("light").override("batch.identities_per_batch=2"), data, "runs/x").fit(epochs=3)': "optimizer.",
    # tracklets
    "Tracklet(e)": "Tracklet()",
    'search_many(["people"], e)': "Gallery",
    "Tracklet().update(e)": ".add(embeddings)",
}
"""A line, and what its error must hold."""


def tried(line: str, at_hand: dict[str, Any]) -> Any:
    """What a line gives; of an assignment or import None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if re.match(r"[\w, ]+ = |from ", line):
            return exec(line, at_hand)
        return eval(line, at_hand)


@pytest.mark.parametrize("line", RIGHT)
def test_a_guess_is_right(line: str, at_hand: dict[str, Any]) -> None:
    assert RIGHT[line](tried(line, dict(at_hand)), at_hand)


@pytest.mark.parametrize("line", REFUSED)
def test_a_guess_is_answered_by_the_right_line(line: str, at_hand: dict[str, Any]) -> None:
    with pytest.raises(PartReIDError) as caught:
        tried(line, dict(at_hand))
    assert REFUSED[line].lower() in str(caught.value).lower()
    assert len(str(caught.value)) < 700


def test_what_the_front_door_hands_on_is_guided() -> None:
    things = {name: getattr(partreid, name) for name in partreid.__all__}
    functions = {
        name for name, thing in things.items() if inspect.isfunction(thing) and not hasattr(thing, "__wrapped__")
    }
    kept = (Guided, ConfigModel, torch.nn.Module, Exception)  # the others say themselves what is wrong
    classes = {name for name, thing in things.items() if inspect.isclass(thing) and not issubclass(thing, kept)}
    assert functions | classes == set()


@pytest.mark.parametrize("door", DOORS)
def test_every_object_at_a_door_is_guided(door: str) -> None:
    things = [getattr(importlib.import_module(door), name) for name in names_at(door)]
    classes = {thing for thing in things if inspect.isclass(thing) and is_dataclass(thing)}
    assert {kind.__name__ for kind in classes if not issubclass(kind, Guided)} == set()


WARNED = ("extractor.embed_boxes(frame, [*boxes, [500, 10, 540, 90]])",
          "gallery.search(seen, matching=MatchingConfig(visibility_threshold=0.5))")  # fmt: skip


@pytest.mark.parametrize("line", WARNED)
def test_a_warning_points_at_the_line_that_was_written(line: str, at_hand: dict[str, Any]) -> None:
    at_hand["seen"] = replace(at_hand["e"], visibility=torch.ones(3, 6))
    at_hand["gallery"] = partreid.Gallery()
    at_hand["gallery"].add(at_hand["seen"], ["a", "b", "c"])
    with pytest.warns(UserWarning) as caught:
        eval(compile(line, "a line of a user's", "eval"), {**at_hand, "__name__": "__main__"})
    assert {one.filename for one in caught} == {"a line of a user's"}


def test_there_are_enough() -> None:
    assert len(RIGHT) + len(REFUSED) > 200
