"""``partreid config``: presets and what they hold."""

from __future__ import annotations

from typing import Annotated

import typer

from partreid.base_config import flatten, meanings
from partreid.cli.console import emit, emit_json, emit_rows
from partreid.cli.options import AsJson, ConfigFile, Overrides, Preset, completed, train_config
from partreid.errors import ConfigError
from partreid.training.presets import PRESETS, find_config
from partreid.training.train_config import TrainConfig

app = typer.Typer()


@app.command("list")
def list_presets() -> None:
    """List the presets."""
    rows = [(name, (preset.__doc__ or "").partition("\n\n")[0].strip()) for name, preset in PRESETS.items()]
    emit_rows("Presets", ("name", "what it is"), rows)


@app.command()
def show(preset: Preset = "paper-occluded", config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Print a configuration as TOML, ready to be saved and given to --config."""
    emit(train_config(preset, config, overrides).to_toml())


@app.command()
def diff(
    first: Annotated[
        str,
        typer.Argument(help="A preset, a run's folder, or a TOML or YAML file.", autocompletion=completed(PRESETS)),
    ],
    second: Annotated[str, typer.Argument(help="Another of them.", autocompletion=completed(PRESETS))],
    as_json: AsJson = False,
) -> None:
    """Print the fields in which two configurations differ.

    Into a file or a pipe, a line per field with tabs between.
    """
    found = find_config(first).diff(find_config(second))
    if as_json:
        emit_json(found)
    else:
        rows = [(key, str(a), str(b)) for key, (a, b) in sorted(found.items())]
        emit_rows(f"{first} and {second}", ("field", first, second), rows)


@app.command()
def fields(
    word: Annotated[
        str,
        typer.Argument(help="Only fields with this word in name or meaning, e.g. epochs.", show_default=False),
    ] = "",
) -> None:
    """Print every field with its default and meaning: what --set can change.

    Into a file or a pipe, a line per field with tabs between.
    """
    said = meanings(TrainConfig)
    rows = [(key, str(value), said[key]) for key, value in flatten(TrainConfig())]
    found = [row for row in rows if word.lower() in f"{row[0]} {row[2]}".lower()]
    if not found:
        raise ConfigError(
            f"No field has {word!r} in its name or meaning. `partreid config fields` without a word prints all "
            f"{len(rows)} of them."
        )
    emit_rows("Fields (defaults: preset paper-occluded)", ("field", "default", "meaning"), found)
