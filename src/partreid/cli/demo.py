"""``partreid demo``: search, training and evaluation on the shipped images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid import datasets, evaluation
from partreid.cli import options as opt
from partreid.cli.console import console, show_progress
from partreid.cli.evaluate import evaluate_and_print
from partreid.cli.train import run_training
from partreid.errors import CheckpointError

if TYPE_CHECKING:
    from partreid import Evaluation, ReIDDataset, RuntimeConfig


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")] = Path("demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Train for fewer or more epochs.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only search with the shipped model (seconds).")] = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
) -> None:
    """Search the shipped rendered pedestrians with the shipped model. Then train it further on them, and evaluate it.

    The search takes seconds. The training starts from that model and takes a minute on two CPU cores.
    """
    from partreid.models.checkpoint import CHECKPOINT_FOLDER

    start = time.perf_counter()
    config = partreid.get_preset("demo").override([] if epochs is None else [f"optimizer.epochs={epochs}"])
    runtime = opt.runtime_config(device, precision)
    root = datasets.shipped_split()
    dataset = partreid.read_dataset(root)
    console.print(
        f"Rendered pedestrians (made by this project, no real person): {len(dataset.train)} training "
        f"images of {len(dataset.train_identities)} identities; "
        f"{len(dataset.queries['query'])} queries with much of the person hidden (set query), "
        f"{len(dataset.queries['holistic'])} whole ones (set holistic), "
        f"{len(dataset.gallery)} gallery images.\n{root}"
    )
    if not quick and (out / CHECKPOINT_FOLDER).exists():
        raise CheckpointError(f"{out} already holds a run. Remove it, or choose another folder with --out.")
    _search(dataset, out, runtime=opt.runtime_config(device, "float32"))
    if quick:
        return
    console.print(f"Now this model is trained further on these images, in {out}. Ctrl-C stops it.")
    run_training(config, [dataset], out, [str(root)], runtime=runtime)
    runtime = opt.runtime_config(device, "float32")
    (found,) = evaluate_and_print(out, [dataset], out / "evaluation", runtime=runtime).values()
    _explain(found)
    console.print(f"{time.perf_counter() - start:.0f} s in all.")
    _next_steps(out, root / "bounding_box_test")


def _search(dataset: ReIDDataset, out: Path, *, runtime: RuntimeConfig) -> None:
    """Search the occluded queries with the shipped model, say how good the answers are, and draw some of them."""
    from partreid.models.shipped import SHIPPED, shipped_name
    from partreid.reports import QueryChoice, draw_rankings_of

    start = time.perf_counter()
    choice = QueryChoice(best=1, random=2, worst=1)
    drawing = draw_rankings_of(SHIPPED, dataset, queries=choice, runtime=runtime, progress=show_progress)
    images = len(dataset.query) + len(dataset.gallery)
    console.print(
        f"The model that comes with the package, {shipped_name()}: {images} images embedded and searched in "
        f"{time.perf_counter() - start:.0f} s.\n{drawing.title}"
    )
    console.print(f"Four queries, and what was found: {drawing.save(out / 'search.png')}", soft_wrap=True)


def _explain(found: Evaluation) -> None:
    """Print in words what the tables show."""
    rows = {row.name: row for row in found.scores["query"].slots}
    seen, blind, whole = (
        rows[name]
        for name in ("foreground + parts, with visibility", "foreground + parts, without visibility", "global")
    )
    console.print(
        f"On occluded queries (set query): mAP {100 * seen.mean_ap:.1f} % comparing the parts seen in "
        f"both images, {100 * blind.mean_ap:.1f} % comparing all parts, seen or not, and {100 * whole.mean_ap:.1f} % "
        f"with the global embedding of the same model. Rank-1 {100 * seen.rank1:.1f} %; a random ranking has "
        f"{100 * evaluation.chance_rank1(found.dataset):.1f} %."
    )


def _next_steps(out: Path, gallery: Path) -> None:
    console.print(
        f"""
Look at
  {out}/evaluation/report.html           everything on one page, the losses too; open it in a browser
  {out}/evaluation/rankings_query.png    queries, what was found, which parts were compared
  {out}/evaluation/attention_query.png   where the network looks for each part
Try next
  partreid gallery add people {gallery} --model {out} --pattern '_c(?P<camera>\\d+)'
                                       a searchable folder; pip install "partreid[gallery]"
  partreid app --gallery people --model {out}
                                       find people on a page; pip install "partreid[app]"
  partreid embed {out} IMAGES...       vectors and visibilities of your own crops
  partreid synth -o rendered            a larger set; pip install "partreid[synth]"
  partreid train rendered --preset light -o runs/mine
  partreid config fields               everything that can be changed""",
        soft_wrap=True,
    )
