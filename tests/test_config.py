"""The base of every configuration: files, overrides, messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

import partreid
from partreid.base_config import ConfigModel, flatten, meanings, read_config_file
from partreid.errors import ConfigError
from partreid.retrieval.matching import MatchingConfig
from partreid.runtime import RuntimeConfig, resolve_arithmetic, resolve_device
from partreid.training.train_config import TrainConfig

SOURCES = str(Path(partreid.__file__).parents[1])


class Inner(ConfigModel):
    """Inner."""

    rate: Annotated[float, Field(gt=0)] = 0.1
    """Rate."""
    width: int | None = None
    """Width."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""


class Outer(ConfigModel):
    """Outer."""

    inner: Inner = Inner()
    """Inner."""
    name: str = "a"
    """Name."""
    mode: Literal["x", "y"] = "x"
    """Mode."""


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("inner.rate=1e-3", "inner.rate", 1e-3),
        ("inner.rate=1.5E+2", "inner.rate", 150.0),
        ("inner.rate=3", "inner.rate", 3.0),
        ("inner.width=8", "inner.width", 8),
        ("inner.width=null", "inner.width", None),
        ("inner.width=", "inner.width", None),
        ("inner.sizes=[3, 4]", "inner.sizes", [3, 4]),
        (" inner.rate =2", "inner.rate", 2.0),
        ("name=none", "name", "none"),
        ("name=a=b", "name", "a=b"),
        ("mode=y", "mode", "y"),
        ("inner.width=010", "inner.width", 10),  # 8 in YAML 1.1
        ("inner.width=1_000", "inner.width", 1000),
        ("inner.rate=.5", "inner.rate", 0.5),
        ("inner.rate=1.", "inner.rate", 1.0),
    ],
)
def test_overrides(assignment: str, field: str, value: object) -> None:
    changed = Outer(inner=Inner(width=5)).override([assignment])
    assert dict(flatten(changed))[field] == value


def test_the_last_override_wins_and_the_original_stays() -> None:
    config = Outer()
    assert config.override(["inner.rate=2", "inner.rate=3"]).inner.rate == 3
    assert config == Outer()
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("epochs", ["optimizer.epochs"]),
        ("epoch", ["optimizer.epochs"]),
        ("lr", ["optimizer.learning_rate"]),
        ("milestone", ["optimizer.milestones"]),
        ("ema", ["optimizer.ema_decay"]),
        ("model.epochs", ["optimizer.epochs"]),
        ("optimizer.height", ["preprocess.height"]),
        ("heigth", ["preprocess.height"]),
        ("optimiser.epochs", ["optimizer.epochs"]),
        ("modle.parts", ["model.parts"]),
        ("optimizer.epoch", ["optimizer.epochs"]),
        ("parts", ["model.parts", "objective.gilt.identity.parts", "objective.gilt.triplet.parts"]),
    ],
)
def test_a_field_is_suggested_from_whatever_section_it_stands_in(name: str, meant: list[str], tmp_path: Path) -> None:
    *sections, last = name.split(".")
    data: dict[str, object] = {last: 3}
    for section in reversed(sections):
        data = {section: data}
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError) as refused:
        TrainConfig().override([f"{name}= 3"])
    assert f"Did you mean {' or '.join(f'{field}= 3' for field in meant)}?" in str(refused.value), "the line to type"
    for attempt in (
        lambda: TrainConfig(**data),
        lambda: TrainConfig.parse(data),
        lambda: TrainConfig.load(tmp_path / "a.json"),
    ):
        with pytest.raises(ConfigError) as error:
            attempt()
        known = not sections or sections[0] in TrainConfig.model_fields  # else it is the section that is unknown
        expected = " or ".join(map(repr, meant)) if known else repr(meant[0].partition(".")[0])
        assert f"Did you mean {expected}?" in str(error.value)


def test_meanings_are_those_of_the_fields_in_their_order() -> None:
    assert list(meanings(TrainConfig)) == [key for key, _ in flatten(TrainConfig())]
    assert meanings(Outer)["inner.width"] == "Width."
    assert all(meanings(TrainConfig).values()), "every field says what it means"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("inner.rate", r"Expected section\.field=value, got 'inner\.rate'"),
        ("=3", r"Expected section\.field=value"),
        ("iner.rate=3", r"the configuration has no field 'iner'\. Did you mean inner\.rate=3\?"),
        ("inner.rat=3", r"inner has no field 'rat'\. Did you mean inner\.rate=3\?"),
        ("name.x=3", r"name has no field 'x'\. name is a value and has no fields"),
        ("inner.rate=fast", r"inner\.rate = 'fast': .*valid number"),
        ("inner.rate=-1", r"inner\.rate = -1: .*greater than 0"),
        ("inner.rate=nan", r"inner\.rate = nan: .*finite"),
        ("inner.width=1.5", r"inner\.width = 1\.5: .*integer"),
        ("mode=z", r"mode = 'z': .*'x' or 'y'"),
        ("inner={rat: 1}", r"inner has no field 'rat'\. Did you mean 'inner\.rate'"),
        ("name=[1", r"Cannot read value '\[1'"),
    ],
)
def test_override_messages(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Outer().override([assignment])


def test_every_way_to_say_an_override_means_the_same() -> None:
    expected = Outer(inner=Inner(rate=0.25, sizes=(3,)), name="b")
    for config in (
        Outer().override("inner.rate=0.25", "inner.sizes=[3]", "name=b"),
        Outer().override(["inner.rate=0.25", "inner.sizes=[3]", "name=b"]),
        Outer().override({"inner": {"rate": 0.25, "sizes": [3]}, "name": "b"}),
        Outer().override({"inner.rate": 0.25, "inner.sizes": (3,)}, name="b"),
        Outer().override("inner.rate=7", "inner.sizes=[3]", inner={"rate": 0.25}, name="b"),
        Outer().override(inner=Inner(rate=0.25, sizes=(3,)), name="b"),
    ):
        assert config == expected
    assert Outer().override() == Outer()
    assert MatchingConfig(visibility_threshold={"head": 0.5}).override(
        visibility_threshold={"torso": 0.25}
    ).visibility_threshold == {"torso": 0.25}, "a mapping that is a value replaces the former one"
    for wrong in (3, None, b"name=b"):
        with pytest.raises(ConfigError, match=r"Expected section\.field=value"):
            Outer().override(wrong)  # type: ignore[arg-type]


def test_parse_names_every_wrong_field() -> None:
    with pytest.raises(ConfigError) as error:
        Outer.parse({"inner": {"rate": 0, "wdith": 3}, "mode": "z"}, source="run.toml")
    for words in (
        "run.toml: ",
        "inner.rate = 0",
        "unknown field 'inner.wdith'. Did you mean 'inner.width'?",
        "mode = 'z'",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'name = "b"\n[inner]\nrate = 1e-05\n'),
        ("a.TOML", 'name = "b"\n[inner]\nrate = 1e-05\n'),
        ("a.yaml", "name: b\ninner:\n  rate: 1e-05\n"),
        ("a.yml", "name: b\ninner: {rate: 1e-05}\n"),
        ("bom.toml", '\ufeffname = "b"\n[inner]\nrate = 1e-05\n'),
        ("a.json", '{\t"name": "b",\n\t"inner": {"rate": 1e-05}}'),
    ],
)
def test_files_of_every_kind(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert Outer.load(tmp_path / name) == Outer(name="b", inner=Inner(rate=1e-5))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"name = ", r"a\.toml is not valid TOML"),
        ("a.yaml", b"a: [", r"a\.yaml is not valid YAML"),
        ("a.json", b"{", r"a\.json is not valid JSON"),
        ("a.yaml", b"", r"expected a table .* got NoneType"),
        ("a.json", b"[1]", r"expected a table .* got list"),
        (
            "a.json",
            b'{"name": "b", "inner": {"rate": 1, "rate": 2}}',
            r"a\.json is not valid JSON: 'rate' stands there twice",
        ),
        ("a.yaml", b"inner:\n  rate: 1\n  rate: 2\n", r"a\.yaml is not valid YAML: 'rate' stands there twice"),
        ("a.yaml", b"inner: {rate: 1:30}\n", r"inner\.rate = '1:30'"),
        ("a.toml", b"\xff\xfe", r"a\.toml: it is not UTF-8"),
        ("a.toml", b"nam = 3", r"a\.toml: unknown field 'nam'\. Did you mean 'name'"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        Outer.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read configuration .*nowhere\.toml: No such file"):
        read_config_file(tmp_path / "nowhere.toml")


def test_toml_leaves_none_out_and_gives_it_back(tmp_path: Path) -> None:
    config = Outer(inner=Inner(rate=0.25, sizes=()))
    assert "width" not in config.to_toml()
    (tmp_path / "a.toml").write_text(config.to_toml())
    assert Outer.load(tmp_path / "a.toml") == config


def _fields(model: type[ConfigModel]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, ConfigModel):
            found += _fields(type(field.default))
        elif type(None) in getattr(field.annotation, "__args__", ()):
            found.append((name, field.default))
    return found


def test_an_argument_is_the_configuration_or_none() -> None:
    assert Outer.given(None) == Outer()
    assert Outer.given(chosen := Outer(name="b")) is chosen
    for other in ({}, {"name": "b"}, Inner(), "b", 0, False):
        with pytest.raises(ConfigError, match=r"Expected Outer\(\.\.\.\) or None, got "):
            Outer.given(other)  # type: ignore[arg-type]


def test_none_is_always_the_default_where_it_is_allowed() -> None:
    """TOML has no null: a None that is not the default would be lost in a run's train.toml."""
    optional = _fields(TrainConfig)
    assert "embedding_dim" in dict(optional)
    assert [name for name, default in optional if default is not None] == []


def test_differences_come_in_the_order_of_the_fields() -> None:
    there = Outer(inner=Inner(rate=2, width=3), mode="y", name="b")
    assert list(Outer().diff(there).items()) == [
        ("inner.rate", (0.1, 2.0)),
        ("inner.width", (None, 3)),
        ("name", ("a", "b")),
        ("mode", ("x", "y")),
    ]
    assert there.diff(there) == {}
    with pytest.raises(ConfigError, match="Expected another Outer to compare with, got 'light'"):
        Outer().diff("light")  # type: ignore[arg-type]
    code = "from partreid.training.presets import get_preset as p;print(list(p('light').diff(p('paper-occluded'))))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": SOURCES}, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("banana", "", "cuda:x", "hpu"):
        with pytest.raises(
            ConfigError, match=rf"Device '{name}' cannot be used here: .*[^.]\. Try --device auto or cpu"
        ):
            resolve_device(name)
    cpu = resolve_device("cpu")
    assert resolve_arithmetic(cpu, "bfloat16") == "bfloat16"
    assert resolve_arithmetic(cpu, "float32") == "float32" == resolve_arithmetic(cpu, "auto", gains=False)
    assert resolve_arithmetic(cpu, "auto") in ("float32", "bfloat16")
    with pytest.raises(ConfigError, match="float16 needs an NVIDIA or AMD GPU, got cpu"):
        resolve_arithmetic(cpu, "float16")
    with pytest.raises(ConfigError, match=r"workers = -1"):
        RuntimeConfig.parse({"workers": -1})


@pytest.mark.parametrize(
    "data", [{"inner": {"rate": True}}, {"inner": {"width": True}}, {"inner": {"sizes": [1, True]}}, {"name": True}]
)
def test_true_is_no_number(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"True.*expected a number or a text, not true or false"):
        Outer.parse(data)
    with pytest.raises(ConfigError, match=r"optimizer\.epochs = True"):
        TrainConfig().override(["optimizer.epochs=true"])
    assert TrainConfig().override(["model.normalize_embeddings=true"]).model.normalize_embeddings
