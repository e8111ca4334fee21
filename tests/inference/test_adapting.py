"""Statistics of each camera: what they are, how images get them, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from partreid.errors import CheckpointError, ConfigError, DataError, ShapeError
from partreid.inference.adapting import LEAST, adapt
from partreid.inference.cameras import cameras_from, own_camera, with_cameras
from partreid.inference.extractor import PartExtractor
from partreid.inference.many import embed_to_file, embed_to_folder
from partreid.inference.storage import load_embeddings
from partreid.models.bpbreid import BoT, BPBReID
from partreid.models.checkpoint import load_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.retrieval.gallery import Gallery
from partreid.runners._batch_norms import Gathered, Statistics, batch_norms, change_to, trained
from partreid.runners._light import WINDOW
from partreid.runners.adaptation import ADAPTATION_FILE, Adaptation
from partreid.runners.adapted import GatheringRunner
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings, ReIDImage
from tests.inference.adapted import SIZE, adaptation, build, crops, network, write_crops, write_run
from tests.inference.plain_network import plain_extractor


def close(a: PartEmbeddings, b: PartEmbeddings) -> bool:
    return torch.allclose(a.vectors, b.vectors, atol=1e-4) and torch.equal(a.visibility, b.visibility)


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_gathered_statistics_are_those_of_all_batches_together() -> None:
    x = torch.randn(37, 5, 3, 2) * 4 + 100
    gathered = Gathered()
    for batch in (x[:8], x[8:9], x[9:]):
        gathered.add(batch)
    own = Statistics(torch.zeros(5), torch.ones(5))
    mean, variance = gathered.mixed(own, 1.0)
    flat = x.double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean, flat.mean(dim=1).float(), rtol=1e-6)
    assert torch.allclose(variance, flat.var(dim=1, correction=0).float(), rtol=1e-5)
    mixed = gathered.mixed(own, 0.7)
    assert torch.allclose(mixed.mean, 0.7 * mean)
    assert torch.allclose(mixed.variance, 0.7 * variance + 0.3)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
def test_a_changed_input_is_normalised_as_by_other_statistics(shape: tuple[int, ...]) -> None:
    norm = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(4).eval()
    norm.load_state_dict({
        "weight": torch.rand(4), "bias": torch.randn(4), "running_mean": torch.randn(4),
        "running_var": torch.rand(4) + 0.1, "num_batches_tracked": torch.tensor(1),
    })  # fmt: skip
    x, wanted = torch.randn(shape), Statistics(torch.randn(4), torch.rand(4))
    changed = norm(change_to(norm, wanted).of(x))
    expected = nn.functional.batch_norm(x, wanted.mean, wanted.variance, norm.weight, norm.bias, eps=norm.eps)
    assert torch.allclose(changed, expected, atol=1e-5)
    assert torch.equal(change_to(norm, trained(norm)).of(x), x)


def test_the_model_stays_as_it_is(quiet: None) -> None:
    plain = build()
    before = {name: tensor.clone() for name, tensor in network().state_dict().items()}
    images = crops("2", 5)
    vectors, fingerprint = plain.embed(images).vectors, plain.fingerprint
    adapted = build(adaptation())
    assert not torch.allclose(adapted.embed(images, cameras=2).vectors, vectors, atol=1e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network().state_dict().items())
    assert torch.equal(plain.embed(images).vectors, vectors)
    assert plain.fingerprint == fingerprint
    assert not any(norm._forward_pre_hooks for norm in batch_norms(network()).values())


def test_each_image_of_a_mixed_batch_is_embedded_as_in_a_batch_of_its_camera(quiet: None) -> None:
    adapted = build(adaptation())
    first, second = crops("1", 4, seed=1), crops("2", 4, seed=2)
    mixed = adapted.embed([*first[:2], *second, *first[2:]], cameras=["1", 1, 2, "2", 2.0, "2", "1", np.int64(1)])
    apart = PartEmbeddings.cat([adapted.embed(first[:2], cameras=1), adapted.embed(second, cameras=2),
                                adapted.embed(first[2:], cameras="1")])  # fmt: skip
    assert close(mixed, apart)
    assert close(build(adaptation(), batch_size=3).embed([*first, *second], cameras=["1"] * 4 + ["2"] * 4),
                 mixed[[0, 1, 6, 7, 2, 3, 4, 5]])  # fmt: skip


def test_statistics_are_those_that_a_network_with_them_would_have() -> None:
    """A network whose batch norms hold the statistics of camera 2 embeds as the adapted one."""
    other = BPBReID(network().config, 2).eval()
    other.load_state_dict(network().state_dict())
    row = adaptation().row("2")
    for name, norm in batch_norms(other).items():
        mean, variance = adaptation().statistics[name]
        norm.running_mean, norm.running_var = mean[row], variance[row]
    assert close(
        build(adaptation()).embed(crops("2", 6), cameras=2),
        PartExtractor(other, SIZE, runtime=RuntimeConfig(device="cpu")).embed(crops("2", 6)),
    )


def test_the_same_persons_in_another_light_come_closer() -> None:
    def gap(extractor: PartExtractor, **cameras: Any) -> float:
        one, two = (extractor.embed(crops(camera, 20, seed=9), **dict.fromkeys(cameras, camera)) for camera in "12")
        return float((one.vectors - two.vectors).norm() / one.vectors.std())

    assert gap(build(adaptation()), cameras=True) < 0.8 * gap(build())


def test_a_camera_that_is_not_known_is_told_once_and_gets_the_mean_of_those_that_are() -> None:
    made = adaptation()
    adapted, images = build(made), crops("gate", 3)
    with pytest.warns(UserWarning, match=r"no camera 'gate'.*mean of its cameras' statistics"):
        seen = adapted.embed(images, cameras="gate")
    with pytest.warns(UserWarning, match=r"camera is not known.*mean of its cameras' statistics"):
        assert torch.equal(adapted.embed(images).vectors, seen.vectors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = adapted.embed(images, cameras=["gate", None, "gate"])
    assert torch.equal(again.vectors, seen.vectors)
    means = {name: Statistics(*(one.mean(0, keepdim=True) for one in both)) for name, both in made.statistics.items()}
    mean = replace(made, cameras=("gate",), images=(LEAST,), statistics=means, light=made.light[:1])
    assert close(again, replace(build(mean).embed(images, cameras="gate"), model=again.model))
    assert again.model == adapted.fingerprint


def test_entries_of_a_data_set_say_their_cameras(tmp_path: Path, quiet: None) -> None:
    files = sorted(write_crops(tmp_path / "crops", {"1": 2, "2": 2}).iterdir())
    entries = [ReIDImage(file, 1, int(file.name[6]) - 1) for file in files]
    adapted = build(adaptation())
    seen = adapted.embed(entries)
    assert close(seen, adapted.embed(files, cameras=cameras_from("name")))
    assert close(seen, adapted.embed(files, cameras=[file.name[6] for file in files]))
    frame = np.concatenate(crops("2", 2), axis=1)
    in_boxes = adapted.embed_boxes(frame, [[0, 0, 16, 32], [16, 0, 32, 32]], camera=2)
    assert close(in_boxes, adapted.embed(crops("2", 2), cameras=2))


def test_fingerprints_tell_adaptations_apart() -> None:
    plain, adapted = build(), build(adaptation())
    other = build(replace(adaptation(), cameras=("1", "3")))
    assert (
        len({plain.fingerprint, adapted.fingerprint, other.fingerprint, build(adaptation(), mirror=True).fingerprint})
        == 4
    )
    assert build(adaptation()).fingerprint == adapted.fingerprint
    seen = adapted.embed(crops("1", 2), cameras=1)
    with pytest.raises(ShapeError, match="model"):
        PartEmbeddings.cat([seen, plain.embed(crops("1", 2))])
    assert adapted.embed([]).model == adapted.fingerprint


def test_a_gallery_keeps_to_one_adaptation(quiet: None) -> None:
    adapted = build(adaptation())
    gallery = Gallery(extractor=adapted)
    gallery.add([*crops("1", 2), *crops("2", 2)], ["a", "b", "c", "d"], cameras=[1, 1, 2, 2])
    assert torch.equal(gallery["c"].embeddings.vectors, adapted.embed(crops("2", 2), cameras=2).vectors[:1])
    found = gallery.search(adapted.embed(crops("2", 1), cameras=2), k=1)
    assert found[0][0].id == "c"
    with pytest.raises(DataError, match=r"another model.*adaptation that it was made with"):
        Gallery(gallery.store, extractor=build())
    with pytest.raises(ShapeError, match="model"):
        gallery.search(build().embed(crops("2", 1)))


def test_files_and_folders_of_embeddings(tmp_path: Path, quiet: None) -> None:
    images = write_crops(tmp_path / "crops", {"1": 3, "2": 3})
    adapted, told = build(adaptation(), batch_size=2), cameras_from("name")
    embed_to_file(adapted, images, tmp_path / "e.safetensors", cameras=told)
    whole, names = load_embeddings(tmp_path / "e.safetensors")
    assert whole.model == adapted.fingerprint
    assert torch.equal(whole.vectors, adapted.embed([Path(name) for name in names], cameras=told).vectors)
    embed_to_folder(adapted, images, tmp_path / "shards", shard_size=2, cameras=told)
    assert close(load_embeddings(tmp_path / "shards")[0], whole)
    (tmp_path / "shards" / "00001.safetensors").unlink(missing_ok=True)
    for shard in sorted((tmp_path / "shards").glob("*.safetensors"))[1:]:
        shard.unlink()
    embed_to_folder(adapted, images, tmp_path / "shards", shard_size=2, cameras=told)
    assert close(load_embeddings(tmp_path / "shards")[0], whole)
    with pytest.raises(DataError, match="begun differently: cameras_sha256"):
        embed_to_folder(adapted, images, tmp_path / "shards", shard_size=2, cameras="1")
    with pytest.raises(DataError, match="begun differently: model"):
        embed_to_folder(build(batch_size=2), images, tmp_path / "shards", shard_size=2)
    with pytest.raises(ConfigError, match="got several cameras"):
        embed_to_folder(adapted, images, tmp_path / "other", cameras=["1"] * 6)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="without an adaptation"):
        embed_to_folder(build(), images, tmp_path / "other", cameras="1")


def test_saved_and_loaded_beside_the_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    adaptation().save(run / "checkpoint" / ADAPTATION_FILE)
    images = crops("2", 3)
    expected = build(adaptation()).embed(images, cameras=2)
    for given in ("auto", run, run / "checkpoint" / ADAPTATION_FILE, adaptation()):
        extractor = PartExtractor.from_pretrained(run, device="cpu", adaptation=given)
        assert extractor.fingerprint == expected.model
        assert close(extractor.embed(images, cameras=2), expected)
    mirrored = PartExtractor.from_pretrained(
        run, device="cpu", adaptation="auto", overrides={"visibility": "continuous"}
    )
    assert mirrored.fingerprint != expected.model
    checkpoint = load_checkpoint(run)
    assert PartExtractor.from_pretrained(checkpoint, device="cpu", adaptation=adaptation()).adaptation is not None
    with pytest.raises(ConfigError, match="not known"):
        PartExtractor.from_pretrained(checkpoint, device="cpu", adaptation="auto")
    with pytest.raises(DataError, match=r"no adaptation .*partreid adapt"):
        PartExtractor.from_pretrained(run, device="cpu", adaptation=write_run(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        PartExtractor.from_pretrained(run, device="cpu", adaptation=tmp_path / "nowhere")


def test_another_models_adaptation_is_refused() -> None:
    other = BPBReID(network().config, 2).eval()
    with pytest.raises(ConfigError, match="of another model"):
        PartExtractor(other, SIZE, runtime=RuntimeConfig(device="cpu"), adaptation=adaptation())
    larger = SIZE.model_copy(update={"height": 64})
    with pytest.raises(ConfigError, match="another image size"):
        PartExtractor(network(), larger, runtime=RuntimeConfig(device="cpu"), adaptation=adaptation())
    other.load_state_dict(network().state_dict())
    extractor = PartExtractor(other, SIZE, runtime=RuntimeConfig(device="cpu"), adaptation=adaptation())
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(ConfigError, match="of another model"):
        extractor.embed(crops("1", 1), cameras=1)


def test_a_layer_that_the_model_has_not_is_refused() -> None:
    made = adaptation()
    strange = replace(made, statistics={**made.statistics, "backbone.nothing": next(iter(made.statistics.values()))})
    with pytest.raises(ConfigError, match=r"layer 'backbone\.nothing'"):
        build(strange)
    name = next(iter(made.statistics))
    narrow = Statistics(*(one[:, :3] for one in made.statistics[name]))
    with pytest.raises(ConfigError, match="statistics of a layer .* that this model lacks"):
        build(replace(made, statistics={**made.statistics, name: narrow}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t, s: t.pop("light"), "light"),
        (lambda t, s: t.update(light=torch.zeros(2, 3)), "other tensors"),
        (lambda t, s: t.update(extra=torch.zeros(1)), "other tensors"),
        (lambda t, s: t.pop(next(k for k in t if k.startswith("variance/"))), "variance/"),
        (
            lambda t, s: t.update({k: v * torch.nan for k, v in t.items() if k.startswith("mean/")}),
            "a value that is not finite",
        ),
        (lambda t, s: t.update({k: -v - 1 for k, v in t.items() if k.startswith("variance/")}), "below 0"),
        (lambda t, s: t.update({k: v.double() for k, v in t.items()}), "another type"),
        (lambda t, s: t.update({k: v + 1 for k, v in t.items() if k.startswith("mean/")}), "checksum"),
        (lambda t, s: s.update(version=2), "version 2"),
        (lambda t, s: s.update(cameras=["1", "1"]), "cameras"),
        (lambda t, s: s.update(cameras=["1", "2.0"]), "cameras"),
        (lambda t, s: s.update(cameras="12"), "cameras"),
        (lambda t, s: s.update(images=[100]), "numbers of images"),
        (lambda t, s: s.update(weight=True), "weight"),
        (lambda t, s: s.update(weight=7), "weight"),
        (lambda t, s: s.pop("network"), "network"),
        (lambda t, s: s.update(network="another"), "checksum"),
    ],
)
def test_damaged_and_hostile_files(damage: Any, message: str, tmp_path: Path) -> None:
    import json

    file = adaptation().save(tmp_path / "a.safetensors")
    assert Adaptation.load(file).fingerprint == adaptation().fingerprint
    tensors, said = load_file(file), adaptation()._description() | {"sha256": adaptation()._digest()}
    damage(tensors, said)
    save_file(tensors, file, {"partreid-adaptation": json.dumps(said)})
    with pytest.raises(DataError, match=rf"not an intact adaptation \(.*{message}"):
        Adaptation.load(file)


def test_files_that_are_no_adaptation(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    for content in (b"", b"\xff" * 100, adaptation().save(file).read_bytes()[:-9]):
        file.write_bytes(content)
        with pytest.raises(DataError, match="not an intact adaptation"):
            Adaptation.load(file)
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(DataError, match="lacks the metadata that partreid adapt writes"):
        Adaptation.load(file)


def test_cameras_with_few_images_are_left_out_and_told() -> None:
    images = [*crops("1", LEAST), *crops("2", 30), *crops("gate", 2)]
    cameras = ["1"] * LEAST + ["2"] * 30 + [None, float("nan")]
    with pytest.warns(UserWarning) as told:
        made = adapt(build(), images, cameras)
    assert made.cameras == ("1",)
    assert made.images == (LEAST,)
    said = [str(one.message) for one in told]
    assert any("'2' has 30 images of at least 100" in one for one in said)
    assert any("2 images have no known camera" in one for one in said)
    with pytest.warns(UserWarning), pytest.raises(DataError, match="No camera has 100 images"):
        adapt(build(), images[:20], 1)
    with pytest.raises(ConfigError, match=r"The cameras of the \d+ images are unknown"):
        adapt(build(), images)


def test_images_that_are_much_alike_are_told() -> None:
    with pytest.warns(UserWarning, match=r"images of camera '1' are hardly different.*count as about 1\."):
        adapt(build(), crops("1", 1) * LEAST, 1)


def test_a_network_with_instance_norms_is_told_that_adaptation_made_such_models_worse() -> None:
    config = ModelConfig(backbone="osnet_ain_x0_25", parts="five", embedding_dim=8)
    with pytest.warns(UserWarning, match=r"instance norms.*Adaptation made such models worse"):
        made = adapt(PartExtractor(BPBReID(config, 2).eval(), SIZE), crops("1", LEAST), 1)
    assert made.cameras == ("1",)


def test_so_many_images_are_looked_at_evenly(quiet: None) -> None:
    images = [image for pair in zip(crops("1", LEAST), crops("2", LEAST), strict=True) for image in pair]
    every_other = adapt(build(), images, 1, most=LEAST)
    assert every_other.images == (LEAST,)
    alone = adaptation().statistics
    for name, (mean, _) in every_other.statistics.items():
        assert torch.allclose(mean[0], alone[name].mean[0], atol=1e-5)


def test_damaged_images(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops", {"1": LEAST + 1, "2": LEAST})
    sorted(folder.iterdir())[-1].write_bytes(b"damaged")
    with pytest.raises(DataError, match="_c2_"):
        adapt(build(), folder, cameras_from("name"))
    with pytest.warns(UserWarning, match=r"'2' has 99 images of at least 100|not an image|damaged"):
        made = adapt(build(), folder, cameras_from("name"), skip_damaged=True)
    assert made.cameras == ("1",)


def test_networks_without_batch_norms_are_refused() -> None:
    runner = plain_extractor()
    with pytest.raises(ConfigError, match="the network itself"):
        adapt(runner, crops("1", LEAST), 1)
    model = network()
    backbone = BoT(ModelConfig(backbone="resnet18", attention="none"), 2)
    for name, _ in list(batch_norms(backbone.backbone).items()):
        parent, _, last = name.rpartition(".")
        setattr(backbone.backbone.get_submodule(parent), last, nn.Identity())
    with pytest.raises(ConfigError, match="has no batch norms to adapt"):
        adapt(PartExtractor(backbone, SIZE, runtime=RuntimeConfig(device="cpu")), crops("1", LEAST), 1)
    with pytest.raises(DataError, match="need images"):
        GatheringRunner(model, SIZE, RuntimeConfig(device="cpu"), weight=0.7).statistics()


@pytest.mark.parametrize("weight", [0, 1.5, -1, float("nan"), True])
def test_weights_that_are_none(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight"):
        adapt(build(), crops("1", LEAST), 1, weight=weight)


def test_cameras_without_an_adaptation_are_refused() -> None:
    with pytest.raises(ConfigError, match="without an adaptation"):
        build().embed(crops("1", 2), cameras=1)


def test_the_light_of_a_camera_that_changed_is_told_once(quiet: None) -> None:
    adapted = build(adaptation())
    adapted.embed(crops("1", WINDOW, seed=5), cameras=1)
    dark = [(image * 0.4).astype(np.uint8) for image in crops("1", WINDOW, seed=6)]
    with pytest.warns(UserWarning, match="light of camera '1' has changed since the adaptation"):
        adapted.embed(dark, cameras=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapted.embed(dark, cameras=1)


def test_one_camera_for_each_image() -> None:
    images = crops("1", 3)
    adapted = build(adaptation())
    for cameras, message in ((["1"] * 2, "got 2, and more images"), (["1"] * 4, "each of 3 images, got 4")):
        with pytest.raises(ShapeError, match=message):
            adapted.embed(images, cameras=cameras)
    for cameras in ({"1"}, {"a": 1}, True, [True] * 3, object()):
        with pytest.raises(DataError, match="A camera is a text or a number"):
            adapted.embed(images, cameras=cameras)  # type: ignore[arg-type]
    pairs = list(with_cameras(iter(images), np.array([1, 2, 3])))
    assert [camera for _, camera in pairs] == ["1", "2", "3"]


def test_rules_that_tell_cameras(tmp_path: Path) -> None:
    table = tmp_path / "cameras.csv"
    table.write_text("path,camera\na.jpg,3\nsub/b.jpg,gate\n")
    told = cameras_from(str(table))
    assert (told(tmp_path / "a.jpg"), told(str(tmp_path / "sub" / "b.jpg"))) == ("3", "gate")
    with pytest.raises(DataError, match=r"does not name .*c\.jpg"):
        told(tmp_path / "c.jpg")
    table.write_text("file,cam\n")
    with pytest.raises(DataError, match="expected the columns path and camera"):
        cameras_from(str(table))
    with pytest.raises(DataError, match="cannot be read"):
        cameras_from(str(tmp_path / "nowhere.csv"))
    for rule, message in (("(", "no regular expression"), (r"\d+", "group"), ("", "group")):
        with pytest.raises(ConfigError, match=message):
            cameras_from(rule)
    with pytest.raises(DataError, match=r"finds no camera in the name x\.jpg"):
        cameras_from(r"c(?P<camera>\d+)")("x.jpg")
    with pytest.raises(DataError, match="begins with <pid>_c<camera>"):
        cameras_from("name")("x.jpg")
    with pytest.raises(DataError, match="Only a file's name tells its camera"):
        cameras_from("folder")(crops("1", 1)[0])
    assert own_camera(ReIDImage(Path("a.jpg"), 1)) is None
