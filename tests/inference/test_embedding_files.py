"""Files of embeddings: whatever is changed in one, or in a folder of shards, is noticed before it is used."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from partreid.errors import DataError, PartReIDError, ShapeError
from partreid.inference._shards import ShardSettings, embed_shards, finish_job, open_job
from partreid.inference.embedding_file import FileFacts, read_facts, read_file, save_embeddings
from partreid.inference.storage import images_root, iter_embeddings, load_embeddings
from partreid.types import PartEmbeddings
from tests.inference.plain_network import plain_extractor, write_images

SUFFIXES = ["safetensors", "parquet"]
SETTINGS = ShardSettings(shard_size=4, batch_size=4)


def made(count: int = 3) -> PartEmbeddings:
    random = torch.Generator().manual_seed(0)
    vectors, visibility = torch.randn(count, 2, 4, generator=random), torch.rand(count, 2, generator=random)
    return PartEmbeddings(vectors, visibility, ("foreground", "head"), model="m")


def saved(path: Path, **options: Any) -> Path:
    return save_embeddings(path, made(), names=["a.jpg", "b.jpg", "c.jpg"], **options)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images: three shards. Read only."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 10)
    return folder


def embed(folder: Path, images: Path | str, settings: ShardSettings = SETTINGS) -> list[str]:
    """Make what is missing of a folder of shards; what was wrong with those that were there."""
    extractor = plain_extractor()
    with open_job(folder, images, extractor, settings) as job:
        faults = job.faults()
        for _ in embed_shards(extractor, job, faults, readers=0):
            pass
        finish_job(job)
    return [fault for fault in faults.values() if fault]


@pytest.fixture
def shards(images: Path, tmp_path: Path) -> Path:
    embed(tmp_path / "out", images)
    return tmp_path / "out"


# One file


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_of_slots_come_back_and_say_nothing_where_there_are_none(suffix: str, tmp_path: Path) -> None:
    plain = saved(tmp_path / f"plain.{suffix}")
    assert "compare_weights" not in read_facts(plain).to_json()  # as in files of earlier versions, checksum included
    assert load_embeddings(plain)[0].compare_weights == {}
    weighed = replace(made(), compare_weights={"head": 3})
    file = save_embeddings(tmp_path / f"weighed.{suffix}", weighed)
    assert load_embeddings(file)[0].compare_weights == {"head": 3.0}
    for wrong in ({"hat": 3}, {"head": 0}, [3]):
        content = json.loads(read_facts(file).to_json()) | {"compare_weights": wrong}
        with pytest.raises(PartReIDError, match="weight"):
            FileFacts.from_json(json.dumps(content))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_flipped_bit_is_noticed_or_harmless(suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"e.{suffix}")
    whole, (expected, names) = path.read_bytes(), load_embeddings(path)
    random, noticed = np.random.default_rng(0), 0
    for place in random.choice(len(whole), 150, replace=False):
        bent = bytearray(whole)
        bent[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bent)
        try:
            got, got_names = load_embeddings(path)
        except DataError:
            noticed += 1
            continue
        # A byte that means nothing, as padding and statistics of columns.
        assert torch.equal(got.vectors, expected.vectors)
        assert torch.equal(got.visibility, expected.visibility)
        assert (got_names, got.slots, got.model) == (names, expected.slots, expected.model)
    assert noticed > 60


def test_every_number_and_word_is_under_the_checksum(tmp_path: Path) -> None:
    path = saved(tmp_path / "e.safetensors", root="/data")
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        (key, text) = next(iter(file.metadata().items()))
    assert read_file(path)[1].sha256
    changes: list[Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]] = [
        lambda facts, t: t.update(vectors=t["vectors"].flip(0)),
        lambda facts, t: t.update(vectors=t["vectors"].double()),
        lambda facts, t: t.update(visibility=t["visibility"] * 0.5),
        lambda facts, t: facts.update(names=facts["names"][::-1]),
        lambda facts, t: facts.update(slots=["head", "foreground"]),
        lambda facts, t: facts.update(model="other"),
        lambda facts, t: facts.update(root="/elsewhere"),
        lambda facts, t: facts.update(skipped=[[3, "d.jpg", "why"]]),
        lambda facts, t: facts.update(sha256="0" * 64),
        lambda facts, t: facts.update(sha256=""),
        lambda facts, t: facts.pop("sha256"),
    ]
    for change in changes:
        facts, bent = json.loads(text), dict(tensors)
        change(facts, bent)
        save_file(bent, path, {key: json.dumps(facts)})
        with pytest.raises(
            DataError, match=r"e\.safetensors is not an intact file of embeddings .*checksum.*Write it again"
        ):
            load_embeddings(path)
        with pytest.raises(DataError, match=r"e\.safetensors"):
            list(iter_embeddings(str(path)))


def test_a_table_edited_by_another_program_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "e.parquet")
    table = pyarrow.parquet.read_table(path)
    names = pyarrow.array(["a.jpg", "c.jpg", "b.jpg"])
    for edited in (table.slice(0, 2), table.take([2, 1, 0]), table.set_column(0, "name", names)):
        pyarrow.parquet.write_table(edited, path)
        with pytest.raises(DataError, match=r"e\.parquet is not an intact file of embeddings"):
            load_embeddings(path)
    pyarrow.parquet.write_table(table, path, compression="zstd")  # the same numbers, written otherwise
    assert torch.equal(load_embeddings(path)[0].vectors, made().vectors)


def _older(path: Path, vectors: torch.Tensor, visibility: torch.Tensor) -> Path:
    """As the versions before checksums wrote it."""
    facts = {"slots": ["foreground", "head"], "model": "m", "names": ["a", "b", "c"], "skipped": []}
    save_file({"vectors": vectors, "visibility": visibility}, path, {"partreid-embeddings": json.dumps(facts)})
    return path


def test_files_of_earlier_versions_are_read_if_their_numbers_are_sound(tmp_path: Path) -> None:
    e = made()
    path = _older(tmp_path / "e.safetensors", e.vectors, e.visibility)
    loaded, names = load_embeddings(path)
    assert torch.equal(loaded.vectors, e.vectors)
    assert (names, loaded.model, read_facts(path).sha256, images_root(path)) == (("a", "b", "c"), "m", "", None)
    nan, beyond = e.vectors.clone(), e.visibility.clone()
    nan[1, 0, 2], beyond[2, 1] = float("nan"), 1.5
    for vectors, visibility, message in (
        (nan, e.visibility, "Image 1, slot 'foreground'.*NaN or infinity"),
        (e.vectors, beyond, "Image 2, slot 'head'.*visibility 1.5"),
        ((e.vectors * 10).int(), e.visibility, "must be floating point"),
        (e.vectors[:2], e.visibility[:2], "3 names for 2 images"),
    ):
        with pytest.raises(DataError, match=rf"e\.safetensors is not an intact file .*{message}"):
            load_embeddings(_older(path, vectors, visibility))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_never_written(suffix: str, wrong: float, tmp_path: Path) -> None:
    e = made()
    e.vectors[1, 1, 0] = wrong
    with pytest.raises(ShapeError, match="Image 1, slot 'head'"):
        save_embeddings(tmp_path / f"e.{suffix}", e, names=["a", "b", "c"])
    assert list(tmp_path.iterdir()) == []


def test_half_precision_keeps_its_bits(tmp_path: Path) -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        e = made().to(dtype=dtype)
        loaded = load_embeddings(save_embeddings(tmp_path / "e.safetensors", e, names=["a", "b", "c"]))[0]
        assert loaded.vectors.dtype == dtype
        assert torch.equal(loaded.vectors, e.vectors)


def test_a_file_knows_where_its_images_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert images_root(saved(tmp_path / "e.safetensors", root=".")) == tmp_path
    assert images_root(saved(tmp_path / "e.parquet", root="crops")) == tmp_path / "crops"
    assert images_root(saved(tmp_path / "e.safetensors")) is None
    absolute = [str(tmp_path / name) for name in "abc"]
    path = save_embeddings(tmp_path / "e.safetensors", made(), names=absolute, root=tmp_path)
    assert images_root(path) is None
    embed(tmp_path / "out", write_images(tmp_path / "p", 2)[0].parent.parent.relative_to(tmp_path))
    assert images_root(tmp_path / "out") == tmp_path


HOSTILE = {
    "deep": "[" * 10**6,
    "digits": '{"slots": ["head"], "model": "m", "names": [], "skipped": [[1' + "0" * 5000 + ', "a", "b"]]}',
    "infinite": '{"slots": ["head"], "model": "m", "names": [], "skipped": [[1e999, "a", "b"]]}',
    "NaN": '{"slots": ["head"], "model": "m", "names": [], "skipped": [[NaN, "a", "b"]]}',
    "no object": "3",
    "no names": '{"slots": ["head"], "model": "m"}',
    "no list": '{"slots": 3, "model": "m", "names": 4, "skipped": []}',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_descriptions(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_file({"vectors": torch.zeros(0, 1, 2)}, path, {"partreid-embeddings": HOSTILE[kind]})
    for read in (load_embeddings, read_facts, images_root):
        with pytest.raises(DataError, match=r"e\.safetensors is not an intact file of embeddings"):
            read(path)


def test_a_table_that_unpacks_a_thousandfold_is_refused(tmp_path: Path) -> None:
    """Columns of one repeated number take a few bytes, whatever their length."""
    rows, width = 20_000, 512
    numbers = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.zeros(rows * width, np.float32)), width)
    columns = {
        "name": pyarrow.array([""] * rows),
        "vectors": pyarrow.StructArray.from_arrays([numbers], names=["head"]),
        "visibility": pyarrow.StructArray.from_arrays([pyarrow.array(np.ones(rows, np.float32))], names=["head"]),
    }
    facts = FileFacts(("head",), "m", ("",) * rows, sha256="0" * 64).to_json()
    table = pyarrow.table(columns, metadata={"partreid-embeddings": facts})
    pyarrow.parquet.write_table(table, tmp_path / "e.parquet", compression="zstd")
    assert (tmp_path / "e.parquet").stat().st_size < 200_000
    with pytest.raises(DataError, match=r"e\.parquet is not an intact file of embeddings .*20000 rows of 512"):
        load_embeddings(tmp_path / "e.parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_file_and_no_folder(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"e.{suffix}"
    with pytest.raises(DataError, match="There is no file"):
        load_embeddings(path)
    os.mkfifo(path)
    with pytest.raises(DataError, match="is no file"):
        load_embeddings(path)
    with pytest.raises(DataError, match="is not a folder of embeddings"):
        load_embeddings(tmp_path)


# A folder of shards


def shard(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:06d}.safetensors"


def test_a_flipped_bit_in_a_shard_is_noticed_by_all_who_read_it(shards: Path, images: Path) -> None:
    whole = shard(shards, 1).read_bytes()
    bent = bytearray(whole)
    bent[-5] ^= 0x40  # a number that stays one
    shard(shards, 1).write_bytes(bent)
    batches = iter_embeddings(shards)
    next(batches)
    with pytest.raises(DataError, match=r"shard-000001\.safetensors is not an intact file of embeddings .*checksum"):
        next(batches)
    assert "checksum differs" in embed(shards, images)[0]  # resuming makes it again, and says why
    assert shard(shards, 1).read_bytes() == whole


def test_shards_of_other_images_and_other_places(shards: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "others", 10)
    embed(tmp_path / "foreign", tmp_path / "others")
    kept = shard(shards, 1).read_bytes()
    for content in (shard(tmp_path / "foreign", 1).read_bytes(), shard(shards, 0).read_bytes()):
        shard(shards, 1).write_bytes(content)
        with pytest.raises(DataError, match=r"shard-000001\.safetensors does not belong .*another shard, or one of"):
            load_embeddings(shards)
    shard(shards, 1).write_bytes(shard(shards, 2).read_bytes())
    with pytest.raises(DataError, match=r"shard-000001.*it has 2 images and 0 skipped ones, not 4 together"):
        load_embeddings(shards)
    shard(shards, 1).write_bytes(kept)
    assert len(load_embeddings(shards)[0]) == 10
    assert len(load_embeddings(shard(shards, 1))[0]) == 4  # a shard by itself is a file like any other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shards": 2}, r"manifest\.json was changed: 10 images are not 2 shards of 4"),
        ({"shards": 2, "images": 8}, r"contains shard-000002\.safetensors, but its manifest\.json lists 2 shards"),
        ({"images": 11}, r"shard-000002\.safetensors does not belong .*it has 2 images .* not 3 together"),
        ({"shards": 10**9, "images": 4 * 10**9}, r"is not finished: 999999997 of 1000000000 shards are missing"),
        ({"shards": 0, "images": 0}, r"manifest\.json: images = 0.*It was changed"),
        ({"shards": True}, r"manifest\.json: shards = True.*It was changed"),
        ({"shard_size": 0}, r"manifest\.json: shard_size = 0.*It was changed"),
        ({"shard_size": -4, "shards": -2}, r"manifest\.json: shard_size = -4.*It was changed"),
        ({"version": 3}, r"manifest\.json: version = 3.*or is of a later partreid"),
        ({"file_type": "parquet"}, r"contains shard-000000\.safetensors, but .* type parquet"),
        ({"file_type": "/../../x"}, r"manifest\.json: file_type = '/../../x'.*It was changed"),
        ({"model": "other"}, r"shard-000000.*was made by the model plain, the others by other"),
        ({"slots": ["head", "foreground"]}, r"shard-000000.*was made by the model"),
        ({"names_sha256": "0" * 64}, r"shard-000000.*another shard, or one of other images"),
    ],
)
def test_an_edited_manifest(changes: dict[str, Any], message: str, shards: Path) -> None:
    manifest = json.loads((shards / "manifest.json").read_text())
    (shards / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    with pytest.raises(DataError, match=message):
        load_embeddings(shards)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 10**6, b'{"shards": ' + b"9" * 5000 + b"}", b'{"shards": NaN}', b"\xff"]
)
def test_a_hostile_manifest(content: bytes, shards: Path, images: Path) -> None:
    (shards / "manifest.json").write_bytes(content)
    for read in (load_embeddings, images_root):
        with pytest.raises(DataError, match="is not a folder of embeddings"):
            read(shards)
    with pytest.raises(DataError, match=r"manifest\.json cannot be read|was begun differently"):
        embed(shards, images)


def test_a_renamed_shard_is_named(shards: Path) -> None:
    shard(shards, 0).rename(shards / "spare")
    shard(shards, 1).rename(shard(shards, 0))
    (shards / "spare").rename(shard(shards, 1))
    with pytest.raises(DataError, match=r"shard-000000\.safetensors does not belong .*another shard"):
        load_embeddings(shards)
    shard(shards, 1).rename(shard(shards, 7))
    with pytest.raises(DataError, match=r"contains shard-000007\.safetensors"):
        load_embeddings(shards)
    shard(shards, 7).rename(shards / "shard-000000.parquet")
    with pytest.raises(DataError, match=r"contains shard-000000\.parquet"):
        load_embeddings(shards)


def test_a_image_changed_under_its_name_is_embedded_again(images: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    embed(tmp_path / "out", source)
    before, names = load_embeddings(tmp_path / "out")
    os.utime(names[5])  # copied or restored, and the same
    assert embed(tmp_path / "out", source) == []
    times, content = Path(names[5]).stat(), Path(names[0]).read_bytes()
    Path(names[5]).write_bytes(content)
    os.utime(names[5], ns=(times.st_atime_ns, times.st_mtime_ns))
    (fault,) = embed(tmp_path / "out", source)
    assert "shard-000001.safetensors is of images that have changed since" in fault
    after = load_embeddings(tmp_path / "out")[0]
    assert torch.equal(after.vectors[5], before.vectors[0])
    assert torch.equal(after.vectors[:4], before.vectors[:4])


def test_the_same_names_in_another_folder_are_other_images(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for site in ("A", "B"):
        shutil.copytree(images, tmp_path / site / "crops")
    monkeypatch.chdir(tmp_path / "A")
    embed(tmp_path / "out", "crops")
    monkeypatch.chdir(tmp_path / "B")
    with pytest.raises(DataError, match=rf"begun differently: root was {tmp_path / 'A'}, now {tmp_path / 'B'}"):
        embed(tmp_path / "out", "crops")


def _as_version_1(folder: Path) -> None:
    """A folder as the versions before checksums made it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["root"]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 1}))
    for file in folder.glob("shard-*"):
        tensors, facts = load_file(file), read_facts(file)
        old = {key: getattr(facts, key) for key in ("slots", "model", "names", "skipped")}
        save_file(tensors, file, {"partreid-embeddings": json.dumps(old)})


def test_a_folder_of_an_earlier_version_is_read_and_not_gone_on_with(shards: Path, images: Path) -> None:
    expected, names = load_embeddings(shards)
    _as_version_1(shards)
    got, got_names = load_embeddings(shards)
    assert torch.equal(got.vectors, expected.vectors)
    assert got_names == names
    with pytest.raises(DataError, match="begun by an earlier partreid, whose shards have no checksums.*another folder"):
        embed(shards, images)
    spare = shard(shards, 0).read_bytes()
    shard(shards, 0).write_bytes(shard(shards, 1).read_bytes())
    shard(shards, 1).write_bytes(spare)
    with pytest.raises(DataError, match="the shards are not of the images that manifest.json was written for"):
        load_embeddings(shards)


@pytest.mark.parametrize("seed", range(25))
def test_random_bytes_in_a_folder_of_shards(seed: int, shards: Path) -> None:
    expected, names = load_embeddings(shards)
    random = np.random.default_rng(seed)
    file = random.choice(sorted(shards.iterdir()))
    content = bytearray(file.read_bytes())
    for _ in range(int(random.integers(1, 4))):
        place = int(random.integers(len(content)))
        content[place : place + int(random.integers(3))] = random.bytes(int(random.integers(3)))
    file.write_bytes(content)
    try:
        got, got_names = load_embeddings(shards)
    except PartReIDError:
        return
    assert torch.equal(got.vectors, expected.vectors)
    assert got_names == names


def test_names_are_texts_in_an_order(tmp_path: Path) -> None:
    """A set would give each image another one's name, and a number would not be the text that the checksum is of."""
    for names in ({"a", "b", "c"}, "abc", [1, 2, 3], ["a", "b", None]):
        with pytest.raises(ShapeError, match="name"):
            save_embeddings(tmp_path / "a.safetensors", made(), names=names)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    for given in ([Path("x/a.jpg"), Path("b"), Path("c")], np.array(["x/a.jpg", "b", "c"])):
        save_embeddings(tmp_path / "a.safetensors", made(), names=given)  # type: ignore[arg-type]
        assert load_embeddings(tmp_path / "a.safetensors")[1] == ("x/a.jpg", "b", "c")
