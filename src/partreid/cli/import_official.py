"""``partreid import-official``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, plain_table


def import_official(
    file: Annotated[
        Path, typer.Argument(help="Published BPBReID weights (.pth.tar), of ResNet-50, ResNet-50-IBN-a or HRNet-W32.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint folder to write.")],
    schema: Annotated[
        str | None, typer.Option(help="Part schema, e.g. five or five_v. Default: as in the file.")
    ] = None,
    height: Annotated[int | None, typer.Option(min=16, help="Input height. Default: as in the file.")] = None,
    width: Annotated[int | None, typer.Option(min=16, help="Input width. Default: as in the file.")] = None,
) -> None:
    """Convert published weights into a checkpoint, without running code from the file.

    Then `partreid evaluate OUT DATA` scores them, and PartExtractor.from_pretrained(OUT) embeds with them.
    """
    from partreid.models import read_official, save_checkpoint
    from partreid.models.official import OfficialOptions

    result = read_official(file, options=OfficialOptions(schema, height, width))
    save_checkpoint(result.checkpoint, out)
    model, shapes = result.checkpoint.model, "the tensors' shapes"
    rows = [(name, str(found.value), found.source) for name, found in result.choices.items()]
    rows.append(("K", f"{len(model.config.part_names)}: {', '.join(model.config.part_names)}", shapes))
    rows.append(("embedding width", str(model.config.embedding_dim), shapes))
    rows.append(("identities", str(model.num_identities), shapes))
    rows += [(name, f"{value:g}", "the file") for name, value in result.checkpoint.metrics.items()]
    console.print(plain_table(str(file), ("what", "value", "from"), rows))
    console.print(f"{len(result.used)} keys used, {len(result.ignored)} ignored because matching does not need them:")
    console.print("\n".join(f"  {key}" for key in result.ignored))
    console.print(f"Checkpoint: {out}    Score it: partreid evaluate {out} DATA", soft_wrap=True)
