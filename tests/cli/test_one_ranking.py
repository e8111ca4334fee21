"""One question, one answer: whole commands, Python, galleries in memory and in a folder, an exported file and the page
rank alike, for the network of every preset."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid import Filter, Gallery, MatchingConfig, PartEmbeddings, PartExtractor, part_distances
from partreid.app.messages import Question, Sighting
from partreid.app.service import PageService
from partreid.errors import ShapeError
from partreid.evaluation.evaluator import evaluate_embeddings
from partreid.evaluation.slots import slot_mapping, slot_table
from partreid.inference.embedding_file import save_embeddings
from partreid.inference.storage import load_embeddings
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.retrieval.compare import compare
from partreid.tracking.tracklets import merge_tracklet
from partreid.training.presets import PRESETS
from tests.cli.conftest import Run

QUICK = ("bot", "light")
ALIKE = ("demo",)  # ablation's network
NETWORKS = [
    pytest.param(name, {}, marks=() if name in QUICK else pytest.mark.slow) for name in PRESETS if name not in ALIKE
] + [pytest.param("light", {"foreground": 0.001, "head": 30}, id="light-weighed")]
FOUND, SIZE = 6, (96, 32)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve images of noise of different brightness: their vectors differ in length as well as in direction."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    for i in range(12):
        image = rng.integers(0, 30 + 20 * i, (*SIZE, 3), np.uint8)
        image[7 * i : 7 * i + 16] = rng.integers(0, 256, 3, np.uint8)
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    return sorted(folder.iterdir())


def random_run(name: str, folder: Path, slot_weights: dict[str, float]) -> Path:
    """A checkpoint of a preset's network, small images, random weights."""
    config = PRESETS[name]().override({"model.slot_weights": slot_weights})
    torch.manual_seed(0)
    network = build_network(config.model, 3)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1) and module.out_channels < 12:
            torch.nn.init.normal_(module.weight, std=module.in_channels**-0.5)  # the part classifier begins near zero
    with torch.no_grad():
        network.train()(torch.randn(8, 3, *SIZE))  # statistics as after a training
    size = config.preprocess.model_copy(update={"height": SIZE[0], "width": SIZE[1]})
    return save_checkpoint(Checkpoint(network.eval(), size, {}), folder)


def ranking(ids: list[str], distances: torch.Tensor) -> list[str]:
    order = sorted(range(len(ids)), key=lambda i: (float(distances[i]), ids[i]))
    return [Path(ids[i]).name for i in order if torch.isfinite(distances[i])][:FOUND]


def clearness(distances: torch.Tensor) -> float:
    """How far the nearest lie from each other: half precision must not swap two of them."""
    near = distances.sort().values[1 : FOUND + 2]
    return float((near.diff() / near[1:]).min())


def names_of(ids: tuple[str, ...]) -> list[str]:
    return [Path(one).name for one in ids]


@pytest.mark.parametrize(("name", "weights"), NETWORKS)
def test_every_way_gives_one_ranking(
    name: str, weights: dict[str, float], run: Run, crops: list[Path], tmp_path: Path
) -> None:
    model = random_run(name, tmp_path / "model", weights)
    extractor = PartExtractor.from_pretrained(str(model))
    normalized = extractor.model.config.normalize_embeddings
    everyone = extractor.embed(crops)
    distances = part_distances(everyone, everyone, normalize=normalized, weights=weights)
    place = max(range(len(crops)), key=lambda i: clearness(distances[i]))
    query, items = crops[place], crops[:place] + crops[place + 1 :]
    ids = [str(item) for item in items]
    asked, stored = extractor.embed([query]), extractor.embed(items)
    expected_distances = part_distances(asked, stored, normalize=normalized, weights=weights)[0]
    expected = ranking(ids, expected_distances)
    without = part_distances(asked, stored, normalize=normalized, weights={})[0]
    assert (ranking(ids, without) != expected) == bool(weights)
    assert len(expected) == FOUND

    # Python, without a word about how to compare
    assert ranking(ids, part_distances(asked, stored)[0]) == expected
    assert ranking(ids, compare(asked, stored).distances[0]) == expected
    assert ranking(ids, MatchingConfig(visibility="product").distances(asked, stored)[0]) == expected
    merged = merge_tracklet(PartEmbeddings.cat([asked, asked]))
    assert ranking(ids, part_distances(merged, stored)[0]) == expected
    pids, others = [0], [0 if Path(one).name == expected[2] else 1 for one in ids]
    ids_of = (pids, None), (others, None)
    result = evaluate_embeddings(asked, stored, *ids_of)
    assert result.mean_ap == pytest.approx(1 / 3)
    whole = slot_table(slot_mapping(asked), slot_mapping(stored), *ids_of)
    every = [row for row in whole if "with visibility" in row.name] or whole  # foreground + parts come last
    assert every[-1].mean_ap == pytest.approx(1 / 3)

    # galleries: in memory, in a folder that the command fills, opened with and without the model
    memory = Gallery(extractor=extractor)
    memory.add(stored, ids)
    assert names_of(memory.search(asked, FOUND).ids[0]) == expected
    status, text = run("gallery", "add", tmp_path / "people", *items, "--model", model, "--device", "cpu")
    assert status == 0, text
    for way in (None, extractor):
        with Gallery.open(tmp_path / "people", extractor=way, create=False) as folder:
            found = folder.search(asked, FOUND)
            assert names_of(found.ids[0]) == expected
            assert found.matching is not None
            assert found.matching.model_dump()["normalize"] is normalized
            assert found.matching.model_dump()["slot_weights"] == weights
            assert np.allclose(found.distances[0], expected_distances.sort().values[:FOUND], rtol=2e-3)

    # commands
    search = ("gallery", "search", tmp_path / "people", "-k", FOUND, "--json", "--device", "cpu")
    status, text = run(*search, query, "--model", model)
    assert status == 0, text
    assert [Path(row["id"]).name for row in json.loads(text)[0]["found"]] == expected
    for file in (tmp_path / "q.safetensors", tmp_path / "g.safetensors"):
        status, text = run("embed", model, *([query] if file.stem == "q" else items), "-o", file, "--device", "cpu")
        assert status == 0, text
    loaded = [load_embeddings(tmp_path / f"{side}.safetensors")[0] for side in "qg"]
    assert ranking(ids, part_distances(*loaded)[0]) == expected

    # the page
    with Gallery.open(tmp_path / "people", extractor=extractor, create=False) as folder:
        page = PageService(folder, extractor)
        kept = page.keep(query.read_bytes())
        answer = page.search(Question(query=(Sighting(image=kept.image),), k=FOUND, where=Filter()))
        assert names_of(tuple(found.id for found in answer.results)) == expected

    # an exported file in the place of the run
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    file = tmp_path / "model.onnx"
    status, text = run("export", model, "--to", "onnx", "-o", file, "--images", query.parent)
    assert status == 0, text
    status, text = run(*search, query, "--model", file)
    assert status == 0, text
    assert [Path(row["id"]).name for row in json.loads(text)[0]["found"]] == expected


def embeddings(count: int, *, normalized: bool | None, model: str = "") -> PartEmbeddings:
    rng = torch.Generator().manual_seed(count)
    vectors = torch.randn(count, 2, 6, generator=rng) * torch.rand(count, 2, 1, generator=rng) * 5
    return PartEmbeddings(vectors, torch.ones(count, 2), ("a", "b"), model, compare_normalized=normalized)


@pytest.mark.parametrize("normalized", [True, False, None])
def test_embeddings_remember_how_they_are_compared(normalized: bool | None, tmp_path: Path) -> None:
    e = embeddings(20, normalized=normalized)
    expected = part_distances(e, e, normalize=bool(normalized))
    assert torch.allclose(part_distances(e[3:5], e.select("a", "b")), expected[3:5])
    assert PartEmbeddings.cat([e, e]).compare_normalized is normalized
    file = save_embeddings(tmp_path / "e.safetensors", e, names=[str(i) for i in range(20)])
    assert load_embeddings(file)[0].compare_normalized is normalized
    weighed = replace(e, compare_weights={"b": 4})
    assert torch.equal(part_distances(weighed, e), part_distances(e, e, weights={"b": 4}))
    assert PartEmbeddings.cat([e, weighed]).compare_weights == weighed[1:].cpu().compare_weights == {"b": 4.0}
    assert weighed.select("a").compare_weights == {}
    assert MatchingConfig(slots=("b",)).resolved(weighed).slot_weights == {"b": 4.0}
    assert MatchingConfig(slot_weights={}).resolved(weighed).slot_weights == {}
    unknown = embeddings(3, normalized=None)
    other = torch.cat([part_distances(e[:3], unknown), part_distances(unknown, e[:3]).T])
    assert torch.allclose(other[:3], other[3:])


def test_two_ways_are_never_mixed() -> None:
    yes, no = embeddings(3, normalized=True), embeddings(4, normalized=False)
    for mixed in (
        lambda: part_distances(yes, no),
        lambda: PartEmbeddings.cat([yes, no]),
        lambda: MatchingConfig().distances(yes, no),
        lambda: evaluate_embeddings(yes, no, ([1, 2, 3], None), ([1, 2, 3, 4], None)),
    ):
        with pytest.raises(ValueError, match="different models"):
            mixed()
    one, two = (replace(no, compare_weights={"a": weight}) for weight in (2, 3))
    for mixed in (
        lambda: part_distances(one, two),
        lambda: PartEmbeddings.cat([one, no, two]),
        lambda: MatchingConfig().resolved(one, two),
    ):
        with pytest.raises(ShapeError, match="different models"):
            mixed()
    with pytest.raises(ShapeError, match="No slot 'c' for a weight"):
        replace(no, compare_weights={"c": 2})
    gallery = Gallery()
    gallery.add(yes, list("abc"))
    for used in (lambda: gallery.search(no), lambda: gallery.add(no, list("defg"))):
        with pytest.raises(ValueError, match="different models"):
            used()


def test_a_gallery_whose_model_is_known_but_not_its_way_says_so() -> None:
    gallery = Gallery()
    gallery.add(embeddings(3, normalized=None, model="m"), list("abc"))
    with pytest.warns(UserWarning, match=r"MatchingConfig\(normalize=True\)"):
        gallery.search(embeddings(2, normalized=None, model="m"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gallery.search(embeddings(2, normalized=True, model="m"))
        gallery.search(embeddings(2, normalized=None), matching=MatchingConfig(normalize=False))
