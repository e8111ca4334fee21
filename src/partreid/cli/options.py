"""Options that several commands share, and the configuration that results from them.

Nothing heavy is imported before a command runs, so that its help and the shell's completion answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid import datasets
from partreid.errors import ConfigError, PartReIDError
from partreid.parts import PART_SCHEMAS

if TYPE_CHECKING:
    from partreid import Filter, RuntimeConfig, TrainConfig
    from partreid.inference.cameras import CameraOf

_PRESETS = (
    "paper-occluded", "paper-holistic", "paper-occluded-ibn", "paper-holistic-ibn", "paper-occluded-hrnet",
    "paper-holistic-hrnet", "bot", "pcb", "official-occluded", "official-holistic", "light", "generalize", "demo",
    "ablation", "osnet-x1-0", "osnet-x0-25", "osnet-ain-x1-0",
)  # fmt: skip
_NETWORK_PRESETS = ("parts-on", "fine-tune")
_EVERY_PRESET = (*_PRESETS, *_NETWORK_PRESETS)


def _completed(words: Iterable[str] | Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """The shell's completions of a value: the words that begin with it."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in (words() if callable(words) else words) if word.startswith(incomplete)]

    return complete


def _query_sets(context: typer.Context, incomplete: str) -> list[str]:
    """The query sets of the data set that is already on the command line."""
    with suppress(PartReIDError):
        sets = partreid.read_datasets(context.params.get("data") or (), labels=None, unmatched="keep")
        return [name for one in sets for name in one.queries if name.startswith(incomplete)]
    return []


def _datasets() -> list[str]:
    return [layout.key for layout in datasets.LAYOUTS]


def _fields() -> list[str]:
    from partreid.base_config import meanings

    return [f"{field}=" for field in meanings(partreid.TrainConfig)]


def _test_fields() -> list[str]:
    from partreid.base_config import meanings

    matching = meanings(partreid.MatchingConfig)
    return [field for field in _fields() if field.startswith("model.")] + [f"matching.{field}=" for field in matching]


_SET = (
    "its folder, a folder that contains it, a table (.csv, .parquet), name=PATH, a name that is searched in "
    "$PARTREID_DATA, or pedestrians, the rendered set inside the package. `partreid data list` shows the names."
)
Data = Annotated[str, typer.Argument(help=f"Data set: {_SET}", autocompletion=_completed(_datasets))]
DataSets = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA...", help=f"Data sets. For each, {_SET}", autocompletion=_completed(_datasets)),
]
MoreData = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="DATA", help="One more data set, as DATA. Repeatable.",
                 autocompletion=_completed(_datasets)),
]  # fmt: skip
LimitIds = Annotated[
    int | None,
    typer.Option(
        "--limit-ids",
        min=1,
        help="For a quick trial: use only this many identities of the training part and of the test part. The output "
        "says that the scores are of a smaller set.",
    ),
]
QuerySets = Annotated[
    list[str] | None,
    typer.Option("--query", metavar="SET", help="Query set, e.g. query or holistic. Repeatable. Default: all.",
                 autocompletion=_query_sets),
]  # fmt: skip
QuerySet = Annotated[
    str | None,
    typer.Option("--query", metavar="SET", help="Query set, e.g. query or holistic. Default: the first.",
                 autocompletion=_query_sets),
]  # fmt: skip
Labels = Annotated[str, typer.Option(help="Label folder in the data set's masks/; auto = the only one.")]
Schema = Annotated[str, typer.Option(help="Part schema, e.g. five or eight.", autocompletion=_completed(PART_SCHEMAS))]
Preset = Annotated[
    str,
    typer.Option(
        help=f"Configuration to start from: {', '.join(_PRESETS)}; or, for a network that exists already, "
        f"{', '.join(f'{name} FILE' for name in _NETWORK_PRESETS)}.",
        autocompletion=_completed(_EVERY_PRESET),
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML or YAML file with some or all fields.")]
Configuration = Annotated[
    str,
    typer.Argument(help="A preset, a run's folder, or a TOML or YAML file.", autocompletion=_completed(_EVERY_PRESET)),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change one field, e.g. optimizer.epochs=30. Repeatable. `partreid config fields` lists all fields.",
        autocompletion=_completed(_fields),
    ),
]
OtherOverrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change one field. Repeatable.")
]
TestOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change how the model embeds or compares, e.g. model.visibility=continuous, "
        "matching.visibility=geometric, matching.normalize=true. Repeatable.",
        autocompletion=_completed(_test_fields),
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, float32, bfloat16, or float16 (GPU only).",
        autocompletion=_completed(("auto", "float32", "bfloat16", "float16")),
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images that are embedded in one batch.")]
Workers = Annotated[int, typer.Option(min=0, help="Threads that read training images ahead; 0 = none.")]
Mirror = Annotated[
    bool,
    typer.Option("--mirror", help="Embed each image and its mirror image, and average them. Takes twice as long."),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="auto|PATH",
        help="Use this calibration, and embed and compare in the same way as it was fitted: its file, the run that "
        "contains it, or auto for the one beside the model.",
        autocompletion=_completed(["auto"]),
    ),
]
Adaptation = Annotated[
    str | None,
    typer.Option(
        "--adaptation",
        metavar="auto|FILE",
        help="Embed with the camera statistics that `partreid adapt` wrote: the file, or auto for the one beside the "
        "model.",
        autocompletion=_completed(["auto"]),
    ),
]
_CAMERA_FROM = (
    "Where to find the camera of an image: name (0002_c1_...), folder, a table FILE.csv with the columns path and "
    r"camera, or a regular expression with a group `(?P<camera>\d+)`."
)
CameraFrom = Annotated[
    str | None,
    typer.Option(
        "--camera-from",
        metavar="name|folder|FILE.csv|REGEX",
        help=f"With --adaptation. {_CAMERA_FROM}",
        autocompletion=_completed(["name", "folder"]),
    ),
]
ToldCamera = Annotated[
    str,
    typer.Option(
        "--camera-from",
        metavar="name|folder|FILE.csv|REGEX",
        help=_CAMERA_FROM,
        autocompletion=_completed(["name", "folder"]),
    ),
]
_MODEL = (
    "Run or checkpoint folder, exported file, Hugging Face repository org/name, a ReID network from elsewhere "
    "(openvino/FILE.xml, onnx/FILE.onnx), or shipped, the trained model inside the package."
)
Model = Annotated[str, typer.Argument(help=_MODEL)]
ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help=_MODEL, show_default="shipped")]
_GALLERY = "A folder, qdrant://host:6333/name, or postgres://…/database?gallery=…"
Gallery = Annotated[str, typer.Argument(metavar="GALLERY", help=_GALLERY)]
GalleryOption = Annotated[str, typer.Option("--gallery", "-g", help=f"Gallery: {_GALLERY[0].lower()}{_GALLERY[1:]}")]
Cameras = Annotated[list[str] | None, typer.Option("--camera", help="Only items of this camera. Repeatable.")]
NotCameras = Annotated[list[str] | None, typer.Option("--not-camera", help="No items of this camera. Repeatable.")]
Since = Annotated[
    str | None,
    typer.Option(help="Only items seen since this time: 90m, 2h or 3d (ago), or 2026-11-23T14:30 (local time)."),
]
Until = Annotated[str | None, typer.Option(help="Only items seen before this time.")]
Undated = Annotated[
    bool, typer.Option("--undated", help="With --since or --until: include items whose time is unknown.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only items with this metadata. Repeatable; a key given twice may have either value.",
    ),
]
NotWhere = Annotated[
    list[str] | None, typer.Option("--not", metavar="KEY=VALUE", help="No items with this metadata. Repeatable.")
]
OneCamera = Annotated[
    str | None, typer.Option("--camera", help="The camera of all images, for the gallery and an adaptation.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace other items that have the same ids.")]
SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Leave out damaged input, and report each case.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def all_datasets(data: list[str] | None, more: list[str] | None = None) -> list[str]:
    """The data sets of a command that takes them as arguments and with ``--data``.

    Raises:
        ConfigError: there is none.
    """
    every = [*(data or []), *(more or [])]
    if not every:
        raise ConfigError("Expected a data set: give its folder or name, or --data NAME.")
    return every


def with_network(preset: str, data: list[str], backbone: str | None) -> tuple[str, list[str], str | None]:
    """A preset with its network, the data sets without that network, and the backbone unless it is that network.

    In ``--preset parts-on FILE`` the parser counts FILE among the data sets, so it is removed from them here.

    Raises:
        ConfigError: several networks are named.
    """
    if preset not in _NETWORK_PRESETS:
        return preset, data, backbone
    from partreid.training import names_network

    named = [word for word in data if names_network(word)]
    if len(named) > 1 or (named and backbone is not None):
        raise ConfigError(f"--preset {preset} needs exactly one network, got {', '.join([*named, backbone or ''])}.")
    if named:
        return f"{preset} {named[0]}", [word for word in data if word not in named], None
    return (preset, data, None) if backbone is None else (f"{preset} {backbone}", data, None)


def train_config(preset: str, config: Path | None, overrides: list[str] | None) -> TrainConfig:
    """The preset, then the file, then the overrides; the last wins.

    Raises:
        ConfigError: a preset, file, field or value is wrong.
    """
    from partreid.base_config import read_config_file

    result = partreid.get_preset(preset)
    if config is not None:
        content = read_config_file(config)
        try:
            result = result.override(content)
        except ConfigError as error:
            raise ConfigError(f"{config}: {error}") from None
    return result.override(overrides or [])


def runtime_config(device: str, precision: str, **fields: float) -> RuntimeConfig:
    """Where to run.

    Raises:
        ConfigError: a field is wrong.
    """
    return partreid.RuntimeConfig.parse({"device": device, "precision": precision, **fields}, source="options")


def gallery_filter(
    cameras: list[str] | None,
    not_cameras: list[str] | None,
    since: str | None,
    until: str | None,
    where: list[str] | None,
    not_where: list[str] | None,
    undated: bool,
) -> Filter:
    """Which items of a gallery to look at.

    Raises:
        ConfigError: a time cannot be read, or a condition is not KEY=VALUE.
    """
    from partreid.types.moments import parse_moment

    return partreid.Filter(
        cameras=None if cameras is None else tuple(cameras),
        not_cameras=tuple(not_cameras or ()),
        since=None if since is None else parse_moment(since),
        until=None if until is None else parse_moment(until),
        undated=undated,
        metadata=key_values(where),
        not_metadata=key_values(not_where),
    )


def cameras_of(camera_from: str | None) -> CameraOf | None:
    """A function from an image to its camera. Raises the errors of ``cameras_from``."""
    from partreid.inference.cameras import cameras_from

    return None if camera_from is None else cameras_from(camera_from)


def key_values(assignments: list[str] | None) -> dict[str, tuple[str, ...]]:
    """``KEY=VALUE`` texts as a mapping from each key to its values.

    Raises:
        ConfigError: one has no ``=``, or nothing before it.
    """
    found: dict[str, tuple[str, ...]] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"Expected KEY=VALUE, got {assignment!r}.")
        found[key] = (*found.get(key, ()), value)
    return found
