"""``partreid config``: presets and configurations."""

from __future__ import annotations

from typing import Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import emit, emit_json, emit_rows
from partreid.errors import ConfigError

app = typer.Typer(help="Show and compare configurations.", no_args_is_help=True)


@app.command("list")
def list_presets() -> None:
    """List the presets. FILE is the file of a network, or the name of a backbone."""
    from partreid.training import NETWORK_PRESETS

    named = {**partreid.PRESETS, **{f"{name} FILE": preset for name, preset in NETWORK_PRESETS.items()}}
    rows = [(name, (preset.__doc__ or "").partition("\n\n")[0].strip()) for name, preset in named.items()]
    emit_rows("Presets", ("name", "what it is"), rows)


@app.command()
def show(preset: opt.Preset = "paper-occluded", config: opt.ConfigFile = None, overrides: opt.Overrides = None) -> None:
    """Print a configuration as TOML, which can be saved and passed to --config."""
    emit(opt.train_config(preset, config, overrides).to_toml())


@app.command()
def diff(
    first: opt.Configuration,
    second: opt.Configuration,
    as_json: opt.AsJson = False,
) -> None:
    """Print the fields in which two configurations differ.

    In a file or a pipe, each field is a line, with tabs between the columns.
    """
    from partreid.training import find_config

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
        typer.Argument(help="List only fields with this word in name or meaning, e.g. epochs.", show_default=False),
    ] = "",
) -> None:
    """Print every field that --set can change, with its default and meaning.

    In a file or a pipe, each field is a line, with tabs between the columns.
    """
    from partreid.base_config import flatten, meanings

    said = meanings(partreid.TrainConfig)
    rows = [(key, str(value), said[key]) for key, value in flatten(partreid.TrainConfig())]
    found = [row for row in rows if word.lower() in f"{row[0]} {row[2]}".lower()]
    if not found:
        raise ConfigError(
            f"No field has {word!r} in its name or meaning. `partreid config fields` without a word prints all "
            f"{len(rows)} of them."
        )
    emit_rows("Fields (defaults: preset paper-occluded)", ("field", "default", "meaning"), found)
