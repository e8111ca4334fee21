"""``partreid config``: presets and what they hold."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.syntax import Syntax

from partreid.cli.console import console, plain_table
from partreid.cli.options import ConfigFile, Overrides, Preset, train_config
from partreid.config import flatten
from partreid.training.config import TrainConfig
from partreid.training.presets import PRESETS, get_preset

app = typer.Typer(help="Show and compare configurations.", no_args_is_help=True)


@app.command("list")
def list_presets() -> None:
    """List the presets."""
    rows = [(name, (preset.__doc__ or "").partition("\n\n")[0].strip()) for name, preset in PRESETS.items()]
    console.print(plain_table("Presets", ("name", "what it is"), rows))


@app.command()
def show(preset: Preset = "paper-occluded", config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Print a configuration as TOML, ready to be saved and given to --config."""
    text = train_config(preset, config, overrides).to_toml()
    console.print(Syntax(text, "toml", background_color="default") if console.is_terminal else text, highlight=False)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A preset.")], second: Annotated[str, typer.Argument(help="Another.")]
) -> None:
    """Print the fields in which two presets differ."""
    rows = [(key, str(a), str(b)) for key, a, b in sorted(get_preset(first).differences(get_preset(second)))]
    console.print(plain_table(f"{first} and {second}", ("field", first, second), rows))


@app.command()
def fields() -> None:
    """Print every field with its default and meaning: what --set can change."""
    rows = [(key, str(value), _meaning(key)) for key, value in flatten(TrainConfig())]
    console.print(plain_table("Fields (defaults: preset paper-occluded)", ("field", "default", "meaning"), rows))


def _meaning(key: str) -> str:
    owner: Any = TrainConfig
    for name in key.split("."):
        field = owner.model_fields[name]
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        owner = field.annotation if nested else None
    return str(field.description or "")
