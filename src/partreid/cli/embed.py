"""``partreid embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, progress_bar
from partreid.cli.options import BatchSize, Device, Mirror, PrecisionOption, runtime_config
from partreid.inference.extractor import PartExtractor
from partreid.inference.pictures import walk
from partreid.inference.storage import save_embeddings
from partreid.types import PartEmbeddings


def embed(
    model: Annotated[str, typer.Argument(help="Run or checkpoint folder, or a Hugging Face repository org/name.")],
    pictures: Annotated[list[Path], typer.Argument(help="Picture files, or folders of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")] = Path(
        "embeddings.safetensors"
    ),
    mirror: Mirror = False,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Embed pictures: one vector and one visibility per picture and slot.

    The file holds `vectors` [N, S, D] and `visibility` [N, S]; its metadata names the slots and the pictures.
    Python reads it with partreid.inference.storage.load_embeddings.
    """
    runtime = runtime_config(device, precision, 0, batch_size)
    extractor = PartExtractor.from_pretrained(model, runtime=runtime, mirror=mirror)
    items = list(walk(list(pictures)))
    batches = []
    with progress_bar("embedding", len(items)) as (progress, task):
        for output in extractor.outputs(items):
            batches.append(output.embeddings)
            progress.advance(task, len(output.embeddings))
    embeddings = PartEmbeddings.cat(batches)
    save_embeddings(out, embeddings, names=[str(item) for item in items])
    console.print(f"{out}: {embeddings}", markup=False)
