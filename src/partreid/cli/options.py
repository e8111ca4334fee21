"""Options that several commands share, and the configuration they add up to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.base_config import read_config_file
from partreid.cli.times import parse_moment
from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.filters import Filter
from partreid.runtime import RuntimeConfig
from partreid.training.presets import PRESETS, get_preset
from partreid.training.train_config import TrainConfig

Data = Annotated[
    str,
    typer.Argument(
        help="Data set: its folder, one that holds it, a table (.csv, .parquet), name=PATH, or a name to be found in "
        "$PARTREID_DATA. `partreid data list` shows the names."
    ),
]
_SETS = (
    "Data sets, each a folder, one that holds it, a table (.csv, .parquet), name=PATH, or a name to be found in "
    "$PARTREID_DATA. `partreid data list` shows the names."
)
DataSets = Annotated[list[str], typer.Argument(metavar="DATA...", help=_SETS)]
OptionalDataSets = Annotated[list[str] | None, typer.Argument(metavar="DATA...", help=_SETS)]
MoreData = Annotated[
    list[str] | None, typer.Option("--data", metavar="DATA", help="Another way to give a data set; repeatable.")
]
Preset = Annotated[str, typer.Option(help=f"Configuration to start from: {', '.join(PRESETS)}.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML or YAML file; its fields replace the preset's.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Replace one field, e.g. optimizer.epochs=30. Repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="auto, float32, bfloat16, or float16 (GPU only).")]
Workers = Annotated[int, typer.Option(min=0, help="Threads that read training images ahead; 0 = none.")]
CacheMib = Annotated[
    int, typer.Option("--cache-mib", min=0, help="Memory for decoded training images, in MiB; 0 keeps none.")
]
Mirror = Annotated[
    bool,
    typer.Option("--mirror", help="Embed each image and its mirror image, and average them. Takes twice as long."),
]
TestOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Embed or compare otherwise than the model was made for, e.g. model.visibility=continuous, "
        "matching.visibility=geometric, matching.normalize=true. Repeatable.",
    ),
]
GalleryLocation = Annotated[
    str, typer.Argument(metavar="GALLERY", help="A folder, qdrant://host:6333/name, or postgres://…/database?gallery=…")
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="Run or checkpoint folder, exported file, or a Hugging Face repository org/name."
    ),
]
Cameras = Annotated[list[str] | None, typer.Option("--camera", help="Only items of this camera. Repeatable.")]
NotCameras = Annotated[list[str] | None, typer.Option("--not-camera", help="No items of this camera. Repeatable.")]
Since = Annotated[
    str | None, typer.Option(help="Only items seen since then: 90m, 2h or 3d (ago), or 2026-11-23T14:30 (local time).")
]
Until = Annotated[str | None, typer.Option(help="Only items seen before then.")]
Undated = Annotated[
    bool, typer.Option("--undated", help="With --since or --until: also items whose time is not known.")
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="KEY=VALUE", help="Only items with this metadata. Repeatable; one key: either."),
]
NotWhere = Annotated[
    list[str] | None, typer.Option("--not", metavar="KEY=VALUE", help="No items with this metadata. Repeatable.")
]
Calibrated = Annotated[
    bool,
    typer.Option("--calibration", help="Embed as the calibration beside the model was fitted."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images embedded at once.")]


def all_datasets(data: list[str] | None, more: list[str] | None) -> list[str]:
    """The data sets of a command that takes them as arguments and with ``--data``.

    Raises:
        ConfigError: there is none.
    """
    every = [*(data or []), *(more or [])]
    if not every:
        raise ConfigError("Expected a data set: give its folder or name, or --data NAME.")
    return every


def train_config(preset: str, config: Path | None, overrides: list[str] | None) -> TrainConfig:
    """The preset, then the file, then the overrides; the last wins.

    Raises:
        ConfigError: a preset, file, field or value is wrong.
    """
    result = get_preset(preset)
    if config is not None:
        result = TrainConfig.parse(
            _merged(result.model_dump(mode="json"), read_config_file(config)), source=str(config)
        )
    return result.override(overrides or [])


def runtime_config(
    device: str, precision: str, workers: int = 0, batch_size: int = 64, cache_mib: int = 2048
) -> RuntimeConfig:
    """Where to run.

    Raises:
        ConfigError: an unknown precision.
    """
    given = {
        "device": device,
        "precision": precision,
        "workers": workers,
        "batch_size": batch_size,
        "cache_mib": cache_mib,
    }
    return RuntimeConfig.parse(given, source="options")


def gallery_filter(
    cameras: list[str] | None,
    not_cameras: list[str] | None,
    since: str | None,
    until: str | None,
    where: list[str] | None,
    not_where: list[str] | None,
    *,
    undated: bool = False,
) -> Filter:
    """Which items of a gallery to look at.

    Raises:
        ConfigError: a time cannot be read, or a condition is not KEY=VALUE.
    """
    return Filter(
        cameras=None if cameras is None else tuple(cameras),
        not_cameras=tuple(not_cameras or ()),
        since=None if since is None else parse_moment(since),
        until=None if until is None else parse_moment(until),
        undated=undated,
        metadata=_alternatives(where),
        not_metadata=_alternatives(not_where),
    )


def key_values(assignments: list[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` texts as a mapping; the last one wins.

    Raises:
        ConfigError: one has no ``=``, or nothing before it.
    """
    return {key: values[-1] for key, values in _alternatives(assignments).items()}


def _alternatives(assignments: list[str] | None) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"Expected KEY=VALUE, got {assignment!r}.")
        found[key] = (*found.get(key, ()), value)
    return found


def gallery_extractor(
    model: str, runtime: RuntimeConfig, *, mirror: bool = False, calibrated: bool = False
) -> PartExtractor:
    """The extractor of a command that works on a gallery.

    Args:
        model: a run, a checkpoint, an exported file or a Hub repository. runtime: where it runs.
        mirror: whether mirror images are embedded too.
        calibrated: embed as the calibration beside the model was fitted, which may be otherwise than the model does.

    Raises:
        ConfigError: a mirror is asked for besides a calibration, or an exported file cannot follow it.
        DataError: there is no calibration, or it belongs to another model.
        CheckpointError: the model is missing, incomplete or foreign.
    """
    if not calibrated:
        return PartExtractor.from_pretrained(model, runtime=runtime, mirror=mirror)
    if mirror:
        raise ConfigError("A calibration says how to embed: leave --mirror away.")
    source = Path(model).parent if Path(model).is_file() else model  # an exported file lies in its run
    known = MatchCalibration.load(source)
    extractor = PartExtractor.from_pretrained(model, runtime=runtime, mirror=known.mirror, overrides=known.overrides)
    known.check(extractor)
    return extractor


def _merged(base: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """``changes`` laid over ``base``, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
