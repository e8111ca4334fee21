"""Replace the model inside the package by a trained model: ``python -m partreid.reports.shipped``.

The weights are rounded to half precision. The identity classifiers are removed, because embedding does not need them.
Calibration, scores and card are made with this file, not with the original run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
import torch
from safetensors.torch import load_file, save_file

from partreid.datasets.readers import read_datasets
from partreid.environment import describe_environment
from partreid.errors import CheckpointError, PartReIDError
from partreid.evaluation.calibration import BY_PARTS, FittedCalibration, calibrate
from partreid.files import atomic_folder, write_text
from partreid.inference.extractor import PartExtractor
from partreid.json_files import read_json
from partreid.models import shipped
from partreid.models.averaging import without_identities
from partreid.models.card import CARD_FILE, COMMAND, front_matter, given, taken, uses
from partreid.models.checkpoint import (
    CONFIG_FILE,
    METRICS_FILE,
    TRAIN_FILE,
    WEIGHTS_FILE,
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    read_metrics,
    save_checkpoint,
)
from partreid.reports.evaluate import evaluate
from partreid.reports.promises import rule_words
from partreid.retrieval.calibration import CALIBRATION_FILE
from partreid.retrieval.open_set import OPEN_SET_FILE
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings

LARGEST = 12 * 10**6
"""Largest size of the model in the wheel, in bytes."""

_NAME = re.compile(r"partreid-[a-z][a-z0-9-]*-[1-9]\d*", re.ASCII)
_CPU = RuntimeConfig(device="cpu", precision="float32")
_COMPARED = 64
_FARTHEST = 0.02
"""How far half precision may move a vector from the run's vector, as a fraction of its length."""

_START = {
    "imagenet": "The backbone started from ImageNet weights.",
    "none": "Trained from random weights: no ImageNet weights were used.",
}


def ship(
    run: str | Path,
    name: str,
    about: str,
    *,
    calibrated_on: Sequence[str | Path],
    scored_on: Sequence[str | Path] = (),
    start: str = "",
    replace: bool = False,
    folder: Path | None = None,
) -> Path:
    """Make the shipped model from a run: half precision, calibration, scores, card and checksums.

    Args:
        run: a run or checkpoint folder. name: ends with a version, "partreid-light-2"; new weights need a new name.
        about: Markdown for the card: data and recipe, assets and licences, limits.
        calibrated_on, scored_on: data sets, in the form that ``read_datasets`` takes; the model must not have been
            trained on these persons.
        start: a sentence about the starting weights, if the run does not tell ("imagenet", "none").
        replace: allow the name of other weights, which must never have been published.
        folder: the target folder; None = inside the package.

    Returns:
        The folder of the model.

    Raises:
        CheckpointError: the name is not valid or belongs to other weights, the start is unknown, or the model is too
            large or loses too much in half precision.
        DataError: a data set cannot be read.
    """
    folder = folder or shipped.FOLDER
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"Expected a name such as partreid-light-2, got {name!r}.")
    with TemporaryDirectory() as temporary:
        draft = save_checkpoint(in_half(load_checkpoint(run)), Path(temporary) / name)
        _halve(draft / WEIGHTS_FILE)
        farthest = _check_against(run, draft, calibrated_on)
        started = _copy_training(find_checkpoint(run), draft, start)
        fitted = calibrate(str(draft), list(calibrated_on), runtime=_CPU)
        fitted.calibration.save(draft / CALIBRATION_FILE)
        if fitted.rule is not None:
            fitted.rule.save(draft / OPEN_SET_FILE)
        figures = _figures(draft, scored_on)
        kept = ("epoch", "history", "environment", "data")
        metrics = {key: value for key, value in read_metrics(run).items() if key in kept}
        write_text(draft / METRICS_FILE, json.dumps({**metrics, "figures": figures}, indent=1) + "\n")
        extractor = PartExtractor.from_pretrained(draft, runtime=_CPU)
        card = _card(name, extractor, [started, about.strip()], fitted, figures, farthest)
        write_text(draft / CARD_FILE, card)
        size = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
        if size > LARGEST:
            raise CheckpointError(
                f"The model takes {size / 1e6:.1f} MB, more than the {LARGEST / 1e6:.0f} MB there are."
            )
        former = _former(folder, name)
        if former["fingerprints"].get(name, extractor.fingerprint) != extractor.fingerprint and not replace:
            raise CheckpointError(
                f"{name} is the name of other weights, by which galleries know them. Take the next version; or "
                "--replace, if that model was never published."
            )
        return _install(draft, folder, name, extractor.fingerprint, former)


def _former(folder: Path, name: str) -> dict[str, Any]:
    """The present index; without fingerprints if there is none yet."""
    path = folder / shipped.INDEX_FILE
    empty: dict[str, Any] = {"shipped": name, "fingerprints": {}}
    return dict(read_json(path, error=CheckpointError)) if path.is_file() else empty


def in_half(checkpoint: Checkpoint) -> Checkpoint:
    """The same model without identity classifiers, with weights rounded to half precision. One-dimensional tensors are
    not rounded, because the statistics and factors of channels take little space and have a large range."""
    smaller = without_identities(checkpoint)
    state = smaller.model.state_dict()
    smaller.model.load_state_dict({key: _rounded(value).to(value.dtype) for key, value in state.items()})
    return smaller


def _rounded(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() and value.ndim >= 2 else value


def _halve(file: Path) -> None:
    save_file({key: _rounded(value) for key, value in load_file(file).items()}, file)


def _check_against(run: str | Path, draft: Path, data: Sequence[str | Path]) -> float:
    """The largest distance between the half-precision model's vectors and the run's, as a fraction of their length.

    Raises:
        CheckpointError: the distance is too large.
    """
    images = list(read_datasets(data, labels=None)[0].gallery[:_COMPARED])
    ours, whole = (PartExtractor.from_pretrained(one, runtime=_CPU).embed(images) for one in (draft, run))
    farthest = _farthest(ours, whole)
    if not farthest <= _FARTHEST:
        raise CheckpointError(
            f"In half precision a vector moves by {farthest:.3f} of its length, more than {_FARTHEST}. Weights of this "
            "range need more digits."
        )
    return farthest


def _farthest(one: PartEmbeddings, other: PartEmbeddings) -> float:
    return float(((one.vectors - other.vectors).norm(dim=2) / other.vectors.norm(dim=2).clamp(min=1e-6)).max())


def _copy_training(source: Path, draft: Path, start: str) -> str:
    """Copy the run's training configuration without folders of its machine. Returns a sentence about its starting
    weights."""
    path, started = source / TRAIN_FILE, start
    if path.is_file():
        config = tomllib.loads(path.read_text(encoding="utf-8"))
        started = start or _START.get(config["pretrained"], "")
        config["pretrained"] = Path(config["pretrained"]).name
        config["model"]["backbone"] = json.loads((draft / CONFIG_FILE).read_text(encoding="utf-8"))["model"]["backbone"]
        write_text(draft / TRAIN_FILE, tomli_w.dumps(config))
    if not started:
        raise CheckpointError("The run does not tell what its training started from: --start 'From ImageNet ...'.")
    return started


def _figures(draft: Path, data: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The model's scores on each query set of each data set."""
    found = evaluate(draft, list(data), runtime=_CPU) if data else {}
    return [
        {
            "data": name, "query": query, "queries": result.num_queries, "gallery": result.num_gallery,
            "rank1": round(result.rank(1), 6), "mAP": round(result.mean_ap, 6), "mINP": round(result.mean_inp, 6),
        }
        for name, evaluation in found.items()
        for query, result in evaluation.items()
    ]  # fmt: skip


def _card(
    name: str,
    extractor: PartExtractor,
    words: Sequence[str],
    fitted: FittedCalibration,
    figures: Sequence[Mapping[str, Any]],
    farthest: float,
) -> str:
    """The text of the model's README.md, with front matter as on the Hugging Face Hub."""
    config, size = extractor.model.config, extractor.preprocess
    environment, quality = describe_environment(), fitted.quality[BY_PARTS]
    rows = [
        f"| {one['data']} | {one['query']} | {one['queries']:,} | {one['gallery']:,} "
        f"| {100 * one['rank1']:.1f} | {100 * one['mAP']:.1f} | {100 * one['mINP']:.1f} |"
        for one in figures
    ]
    return f"""{front_matter(config, "apache-2.0")}
# {name}

{(chr(10) * 2).join(words)}

## Use

{uses()}

```python
from partreid import PartExtractor

extractor = PartExtractor.from_pretrained("{name}")  # or without a name: the model inside the package
```

* {taken(size)}
* {given(config.embedding_dim, extractor.slots)}
* Fingerprint: `{extractor.fingerprint}`.
* Weights are kept in half precision and used in float32. That moves a vector by at most {farthest:.1e} of its length
  ({_COMPARED} images).

## Figures

Rank-1, mAP and mINP in percent, of this file in float32, single query, no re-ranking: `partreid evaluate shipped DATA`;
{environment["processor"]}, PyTorch {environment["PyTorch"]}, {environment["date"]}.

| data set | query set | queries | gallery | rank-1 | mAP | mINP |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

By occlusion, part, light, resolution and kinds of people: `{COMMAND} {name} --data DATA`.

Probabilities (`calibration.json`) were fitted on {fitted.calibration.fitted_on}.
Of these pairs {100 * fitted.calibration.prior:.2f} % show one person. Cross-validated over identities, the expected
calibration error is {quality.calibration_error:.4f}. On other cameras it is larger; to fit probabilities to yours:
`partreid calibrate shipped DATA -o FILE`.

{rule_words(fitted.rule)}
"""


def _install(draft: Path, folder: Path, name: str, fingerprint: str, former: Mapping[str, Any]) -> Path:
    """Replace the former model and its checksums. Its fingerprint stays known."""
    target = folder / name
    with atomic_folder(target, error=CheckpointError) as temporary:
        shutil.copytree(draft, temporary, dirs_exist_ok=True)
    index = {
        "shipped": name,
        "files": {
            file.relative_to(target).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(target.rglob("*"))
            if file.is_file()
        },
        "fingerprints": {**former["fingerprints"], name: fingerprint},
    }
    write_text(folder / shipped.INDEX_FILE, json.dumps(index, indent=1) + "\n")
    if former["shipped"] != name:
        shutil.rmtree(folder / former["shipped"])
    return target


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, and report the result."""
    parser = argparse.ArgumentParser(prog="python -m partreid.reports.shipped", description=__doc__)
    parser.add_argument("run", help="run or checkpoint folder")
    parser.add_argument("--name", required=True, help="partreid-light-2; a new version for new weights")
    parser.add_argument("--about", required=True, type=Path, help="Markdown: data, recipe, assets, licences, limits")
    parser.add_argument("--calibrate", required=True, nargs="+", metavar="DATA", help="of persons not trained on")
    parser.add_argument("--score", default=[], nargs="*", metavar="DATA", help="whose scores the card shows")
    parser.add_argument("--start", default="", help="what training started from, if the run does not tell")
    parser.add_argument("--replace", action="store_true", help="NAME stands for other weights, never published")
    given = parser.parse_args(words)
    try:
        about = given.about.read_text(encoding="utf-8")
        made = ship(
            given.run, given.name, about, calibrated_on=given.calibrate, scored_on=given.score, start=given.start,
            replace=given.replace,
        )  # fmt: skip
    except (PartReIDError, OSError) as error:
        sys.exit(f"error: {error}")
    size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
    sys.stdout.write(f"{made}: {size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
