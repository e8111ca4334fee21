"""One training of an experiment and its scores, in a folder of its own; what is done already is not done again."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid.errors import CheckpointError, DataError
from partreid.evaluation.dataset import embed_split
from partreid.evaluation.evaluator import EvaluationConfig, evaluate_embeddings
from partreid.evaluation.reranking import RerankingConfig
from partreid.experiments.rows import EVERYTHING, Comparison
from partreid.files import hold_folder, recover_folder, write_text
from partreid.inference.extractor import PartExtractor
from partreid.json_files import read_json
from partreid.models.checkpoint import CHECKPOINT_FOLDER, read_metrics
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import tensorboard
from partreid.training.data import file_digest
from partreid.training.loop import Trainer
from partreid.training.state import load_run_config, trained_on
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDDataset, ReIDImage

SCORES_FILE, ERROR_FILE = "scores.json", "error.txt"


@dataclass(frozen=True)
class Task:
    """One training, and how its model is to be scored.

    Attributes:
        folder: of the run. config: of the training. train, test: data sets, often the same one.
        comparisons: every way of comparing that some table asks for.
        runtime: where. threads: of the CPU, None = as PyTorch chooses.
    """

    folder: Path
    config: TrainConfig
    train: ReIDDataset
    test: ReIDDataset
    comparisons: tuple[Comparison, ...]
    runtime: RuntimeConfig
    threads: int | None = None

    @property
    def trained(self) -> bool:
        """Whether the training has ended."""
        if not (self.folder / CHECKPOINT_FOLDER).exists():
            return False
        return int(read_metrics(self.folder).get("epoch", 0)) >= self.config.optimizer.epochs

    @property
    def missing(self) -> tuple[Comparison, ...]:
        """Comparisons without a score on this test set."""
        known = read_scores(self.folder, self.test)
        return tuple(c for c in self.comparisons if c.name not in known)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.missing

    def check(self) -> None:
        """See that the folder is free or holds this very training.

        Raises:
            CheckpointError: it holds a run of another configuration.
        """
        if not (self.folder / CHECKPOINT_FOLDER).exists():
            return
        differences = load_run_config(self.folder).diff(self.config)
        if differences:
            field, (there, here) = next(iter(differences.items()))
            raise CheckpointError(
                f"{self.folder} holds a run of another configuration: {field} is {there!r} there and {here!r} now"
                f"{f' (and {len(differences) - 1} more fields)' if len(differences) > 1 else ''}. Choose another --out."
            )


@dataclass(frozen=True, eq=False)
class Scores:
    """What a run scored by one comparison.

    Attributes:
        protocol: the rule. average_precision: [Q], NaN for a query that is not counted.
        first_match: [Q] rank of the first positive, 0 for a query that is not counted.
        compared: a sentence that says how the images were compared; "" = not written down, by former versions.
    """

    protocol: str
    average_precision: np.ndarray
    first_match: np.ndarray
    compared: str = ""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Scores:
        """From JSON."""
        precision = np.array([np.nan if ap is None else ap for ap in values["average_precision"]], np.float64)
        first = np.array(values["first_match"], np.int64)
        if precision.shape != first.shape:
            raise ValueError("it holds unequal numbers of queries")
        return cls(str(values["protocol"]), precision, first, str(values.get("compared", "")))

    def to_json(self) -> dict[str, Any]:
        """As JSON; null = a query that is not counted."""
        precision = [None if np.isnan(ap) else round(float(ap), 6) for ap in self.average_precision]
        return {
            "protocol": self.protocol,
            "compared": self.compared,
            "rank1": float(np.mean(self.rank1)),
            "mAP": float(np.mean(self.ap)),
            "average_precision": precision,
            "first_match": self.first_match.tolist(),
        }

    @property
    def ap(self) -> np.ndarray:
        """AP of the counted queries."""
        return np.asarray(self.average_precision[~np.isnan(self.average_precision)])

    @property
    def rank1(self) -> np.ndarray:
        """1 for each counted query whose first place is right, else 0."""
        return np.asarray(self.first_match[~np.isnan(self.average_precision)] == 1, np.float64)


def run_task(task: Task) -> None:
    """Train what is not trained and score what is not scored; a failure is kept in the folder as ``error.txt``.

    Raises:
        CheckpointError: the folder holds a run of another configuration or of other persons, or another process is at
            work there.
        PartReIDError, RuntimeError: as training and evaluation.
    """
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    with hold_folder(task.folder, error=CheckpointError):
        try:
            recover_folder(task.folder / CHECKPOINT_FOLDER)
            task.check()
            if task.trained:
                _check_persons(task)
            else:
                trainer = Trainer(task.config, task.train.train, task.folder, runtime=task.runtime)
                if (task.folder / CHECKPOINT_FOLDER).exists():
                    trainer.resume()
                trainer.callbacks = tensorboard(task.folder)
                trainer.fit()
            _score(task)
            (task.folder / ERROR_FILE).unlink(missing_ok=True)
        except Exception as error:
            write_text(task.folder / ERROR_FILE, f"{type(error).__name__}: {error}\n")
            raise


def read_scores(folder: Path, test: ReIDDataset) -> dict[str, Scores]:
    """The scores of a run on a test set by the name of the comparison; none where it was not scored on these images.

    Raises:
        DataError: the file cannot be read.
    """
    path = folder / SCORES_FILE
    if not path.is_file():
        return {}
    try:
        content = read_json(path, error=DataError)
        stored = content.get(test.name)
        if stored is None or {name: stored.get(name) for name in ("size", "content")} != scored_on(test):
            return {}
        return {name: Scores.parse(values) for name, values in stored["comparisons"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Remove it: the run will be scored again.") from None


def _check_persons(task: Task) -> None:
    """A model of another data set must not be scored as if it were trained on this one; resuming checks it itself."""
    here, there = tuple(pid for _, pid in task.train.train_identities), trained_on(task.folder)
    if there is not None and there != here:
        raise CheckpointError(
            f"{task.folder} was trained on other persons than {task.train.name} has: {len(there)} identities there, "
            f"{len(here)} now. Choose another --out for other data."
        )


def _score(task: Task) -> None:
    if task.done:
        return
    results: dict[str, Scores] = {}
    groups: dict[tuple[bool, bool], list[Comparison]] = defaultdict(list)  # images are embedded once for each group
    for comparison in task.missing:
        groups[comparison.mirror, comparison.continuous].append(comparison)
    for (mirror, continuous), comparisons in groups.items():
        overrides = ["visibility=continuous"] if continuous else []
        extractor = PartExtractor.from_pretrained(
            task.folder, runtime=task.runtime.model_copy(update={"precision": "float32"}), mirror=mirror,
            overrides=overrides,
        )  # fmt: skip
        query, gallery = (embed_split(extractor, images) for images in (task.test.query, task.test.gallery))
        for comparison in comparisons:
            matching = MatchingConfig(normalize=comparison.normalize, visibility=comparison.visibility)
            how = HowCompared.of(extractor, matching)
            asked, offered = (
                split.embeddings if comparison.embedding == EVERYTHING else split.table()[comparison.embedding]
                for split in (query, gallery)
            )
            options = EvaluationConfig(reranking=RerankingConfig() if comparison.rerank else None)
            found = evaluate_embeddings(asked, offered, query.ids, gallery.ids, matching=how.matching, options=options)
            results[comparison.name] = Scores(found.protocol, found.average_precision, found.first_match, str(how))
    path = task.folder / SCORES_FILE
    content: dict[str, Any] = read_json(path, error=DataError) if path.is_file() else {}
    known = read_scores(task.folder, task.test) | results
    scores = {name: result.to_json() for name, result in known.items()}
    content[task.test.name] = {**scored_on(task.test), "comparisons": scores}
    write_text(path, json.dumps(content) + "\n", error=DataError)


def scored_on(test: ReIDDataset) -> dict[str, Any]:
    """What scores are of: how many queries and gallery images, and a digest of who they show and of their files."""
    return {"size": [len(test.query), len(test.gallery)], "content": _content(test.query, test.gallery)}


@functools.lru_cache(maxsize=16)  # asked for by every row of a table
def _content(*splits: tuple[ReIDImage, ...]) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for image in split:
            about = file_digest(image.path, f"{image.path.name} {image.pid} {image.camid}")
            digest.update(about.to_bytes(8, "little", signed=True))
    return digest.hexdigest()
