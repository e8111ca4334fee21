"""The dossier of a model: one page with all known facts, and its accuracy by groups of images and people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from partreid.base_config import read_config_file
from partreid.datasets.provenance import read_manifest
from partreid.datasets.readers import DataLike, read_datasets
from partreid.datasets.synthetic.facts import read_pictures
from partreid.environment import describe_environment
from partreid.errors import CheckpointError, ConfigError, DataError
from partreid.evaluation.dataset import SearchedSet, query_sets, search_sets, with_needed_labels
from partreid.evaluation.groups import score_groups
from partreid.files import write_text
from partreid.models.backbones.network_files import is_network_file
from partreid.models.card import CARD_FILE, MEANT_FOR, NOT_MEANT_FOR, given, taken
from partreid.models.checkpoint import TRAIN_FILE, find_checkpoint, read_metrics
from partreid.objects import Guided, guided
from partreid.progress import Progress, no_progress
from partreid.reports.about_model import NOT_STATED, AboutModel, DataTerms
from partreid.reports.figures import ranking_row, spread
from partreid.reports.image_groups import READING, GroupTable, Row, group_tables
from partreid.reports.pages import READING as READING_RANKINGS
from partreid.reports.pages import ranking_view, render
from partreid.reports.promises import calibration_words, rule_words
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.how_compared import load_for_comparison, model_name
from partreid.retrieval.open_set import OpenSetRule
from partreid.runtime import Precision, RuntimeConfig, runtime_of
from partreid.types import ReIDDataset, ReIDImage
from partreid.viz.rankings import RankingRow

_FAILURES = 6
"""Number of pictures of failed queries, each of another person."""
_LEAD = (
    "What this model is for, what it was made of, how well it finds whom, and what it promises. Figures were measured "
    "when this page was made; what only its makers know is marked as stated."
)
_START = {"imagenet": "ImageNet weights", "none": "random weights"}


@dataclass(frozen=True, eq=False, repr=False)
class Measured(Guided):
    """A model's scores on one data set.

    Attributes:
        name: of the set. counts: table with a row per split. scores: table with a row per query set.
        slots: by query set, a table with a row per embedding (Table 3). groups: of all query sets together.
        rendered: whether nobody on it is real. failures: rankings of the worst queries of a rendered set.
        terms: of its use.
    """

    name: str
    counts: Sequence[tuple[str, ...]]
    scores: Sequence[tuple[str, ...]]
    slots: Mapping[str, Sequence[tuple[str, ...]]]
    groups: Sequence[GroupTable]
    rendered: bool
    failures: Sequence[RankingRow]
    terms: DataTerms

    @property
    def worse(self) -> list[str]:
        """In words, the groups whose queries score worse than all others."""
        return [words for table in self.groups for words in table.worse]


@dataclass(frozen=True, eq=False, repr=False)
class Dossier(Guided):
    """All known facts about a model.

    Attributes:
        name: of the model. about: statements of its makers. license: of the weights. card: the text of its own card.
        facts: names and values that describe it. training: names and values of its training. trained_on: data sets.
        promises: guarantees of its thresholds, in sentences. measured: results by data set.
        files: name, bytes, SHA-256. environment: of the measurement. slots: names of the compared slots.
    """

    name: str
    about: AboutModel
    license: str
    card: str
    facts: Sequence[tuple[str, str]]
    training: Sequence[tuple[str, str]]
    trained_on: Sequence[DataTerms]
    promises: Sequence[str]
    measured: Sequence[Measured]
    files: Sequence[tuple[str, str, str]]
    environment: Mapping[str, str]
    slots: tuple[str, ...] = field(default=())

    def page(self) -> str:
        """One self-contained HTML page."""
        return render(
            "dossier.html", title=f"Dossier of {self.name}", slots=self.slots, dossier=self, reading=READING,
            lead=_LEAD,
            meant_for=(*self.about.purpose, *MEANT_FOR), not_meant_for=(*self.about.not_for, *NOT_MEANT_FOR),
            reading_rankings=READING_RANKINGS, ranking_view=ranking_view,
        )  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write the page, completely or not at all.

        Raises:
            DataError: it cannot be written.
        """
        write_text(Path(path), self.page(), error=DataError)
        return Path(path)


@guided
def gather_dossier(
    model: str | Path,
    data: DataLike | Sequence[DataLike],
    *,
    about: str | Path | AboutModel | None = None,
    calibration: str | Path | MatchCalibration | None = None,
    device: str | int | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
    runtime: RuntimeConfig | None = None,
    progress: Progress = no_progress,
) -> Dossier:
    """Gather all known facts about a model, and measure it on data sets. Pictures show rendered people only.

    Args:
        model: a run, a checkpoint, a Hub repository "org/name", or "shipped".
        data: a data set, its name or folder, or several; the model must not have been trained on these persons.
        about: facts that only its makers know: an :class:`AboutModel`, or its TOML file. calibration: as for
            ``evaluate``.
        device, precision, batch_size, runtime: as for :meth:`PartExtractor.from_pretrained`.
        progress: of the embedding.

    Raises:
        CheckpointError: the model is missing, or no run or checkpoint.
        ConfigError: ``about`` has an unknown field.
        DataError: a set has no queries, or its table of images is damaged.
    """
    if is_network_file(model):
        raise CheckpointError(f"A dossier is of a run or a checkpoint, got the network file {model}. Give its run.")
    stated = AboutModel.load(about) if isinstance(about, str | Path) else AboutModel.given(about)
    checkpoint = find_checkpoint(model)
    datasets = read_datasets(data, labels=None)
    known = [(query_sets(one), read_manifest(one.root), read_pictures(one.root) or {}) for one in datasets]
    if (device, precision, batch_size) != (None, None, None):
        runtime = runtime_of(runtime, device=device, precision=precision, batch_size=batch_size)
    extractor, how = load_for_comparison(model, runtime=runtime, calibration=calibration)
    measured = []
    for dataset, (names, manifest, pictures) in zip(datasets, known, strict=True):
        found = search_sets(extractor, with_needed_labels(extractor, dataset), names, how=how, progress=progress)
        terms = _terms(dataset.name, manifest, stated.test_data)
        measured.append(_measure(dataset, found, pictures, terms, rendered=manifest is not None))
    card, license = _card_of(checkpoint)
    config = extractor.model.config
    return Dossier(
        name=model_name(model),
        about=stated,
        license=stated.license or license or NOT_STATED,
        card=card,
        facts=[
            ("fingerprint", extractor.fingerprint),
            ("backbone", Path(config.backbone).name),
            ("input", taken(extractor.preprocess)),
            ("output", given(config.embedding_dim, extractor.slots)),
            ("comparison", str(how)),
        ],
        training=_training(checkpoint),
        trained_on=_trained_on(checkpoint, stated),
        promises=_promises(checkpoint),
        measured=measured,
        files=_files(checkpoint),
        environment=describe_environment(extractor.device),
        slots=extractor.slots,
    )


def _measure(
    dataset: ReIDDataset, found: Mapping[str, SearchedSet], pictures: Mapping[str, Row], terms: DataTerms, *,
    rendered: bool,
) -> Measured:  # fmt: skip
    """``pictures``: rows of a rendered set's table by the image's path in the set."""
    rendered = rendered and _all_listed(dataset, pictures)
    images = [image for searched in found.values() for image in searched.query.images]
    rows = [pictures.get(_within(image, dataset.root), {}) if rendered else {} for image in images]
    results = [searched.scores.result for searched in found.values()]
    precision = np.concatenate([one.average_precision for one in results])
    first = np.concatenate([one.first_match for one in results])
    values = {"rank1": np.where(np.isnan(precision), np.nan, first == 1), "mAP": precision}
    persons = np.array([image.pid for image in images], np.int64)
    sets = np.repeat(np.arange(len(found)), [len(searched.query.images) for searched in found.values()])
    scored = GroupTable("", "", score_groups(values, persons, sets, list(found)))
    galleries = {one.num_gallery for one in results}
    return Measured(
        name=dataset.name,
        counts=[
            (name, f"{len(split):,}", f"{len({image.pid for image in split}):,}")
            for name, split in dataset.splits.items() if split
        ],
        scores=[(*row[:3], ", ".join(f"{n:,}" for n in sorted(galleries)), *row[3:5]) for row in scored.cells()],
        slots={
            name: [
                (row.name, *(f"{100 * value:.1f}" for value in (row.rank1, row.mean_ap, row.visible)))
                for row in searched.scores.slots
            ]
            for name, searched in found.items()
        },
        groups=group_tables(images, rows, values, persons),
        rendered=rendered,
        failures=_failures(found, rows) if rendered else (),
        terms=terms,
    )  # fmt: skip


def _within(image: ReIDImage, root: Path) -> str:
    return image.path.relative_to(root).as_posix() if image.path.is_relative_to(root) else ""


def _failures(found: Mapping[str, SearchedSet], rows: Sequence[Row]) -> list[RankingRow]:
    """Rankings of the worst queries, each of another person, the worst first."""
    every = [(searched, i) for searched in found.values() for i in range(len(searched.query.images))]
    precision = np.concatenate([searched.scores.result.average_precision for searched in found.values()])
    shown: dict[int, RankingRow] = {}
    for place in spread(precision, len(precision))[::-1]:
        (searched, i), row = every[place], rows[place]
        image = searched.query.images[i]
        if image.pid not in shown and len(shown) < _FAILURES:
            told = ", ".join(f"{name} {row[name]}" for name in ("occlusion", "view", "rows", "light") if row.get(name))
            shown[image.pid] = ranking_row(searched, i, title=f"{image.path.name}: {told}")
    return list(shown.values())


def _all_listed(dataset: ReIDDataset, pictures: Mapping[str, Row]) -> bool:
    """Whether the set's table lists every query and gallery image, and each lies in the set. So no real person was
    added."""
    root, images = (
        dataset.root.resolve(),
        [*dataset.gallery, *(one for some in dataset.queries.values() for one in some)],
    )
    return all(
        _within(image, dataset.root) in pictures and image.path.resolve().is_relative_to(root) for image in images
    )


def _terms(name: str, manifest: Mapping[str, Any] | None, stated: Sequence[DataTerms]) -> DataTerms:
    """The makers' statement about a set's terms, or else the set's own."""
    for one in stated:
        if one.name == name:
            return one
    if manifest is None:
        return DataTerms(name=name)
    files = {kind: manifest.get(kind) or {} for kind in ("assets", "panoramas")}
    used = "; ".join(
        f"{kind}: " + ", ".join(f"{file} (SHA-256 {str(digest)[:16]}…)" for file, digest in sorted(some.items()))
        for kind, some in files.items() if isinstance(some, dict) and some
    )  # fmt: skip
    seed = dict(manifest.get("config") or {}).get("seed")
    return DataTerms(
        name=name,
        source=f"rendered by partreid, renderer {manifest.get('renderer')}, seed {seed}",
        terms=f"no terms of the images; those of what they were made of. {used}" if used else "no terms of the images",
        people="nobody: everybody is made up",
    )


def _card_of(checkpoint: Path) -> tuple[str, str]:
    """The text of the model's own card without its front matter, and the licence in the front matter."""
    try:
        text = (checkpoint / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "", ""
    head, body = "", text
    if text.startswith("---\n"):
        head, _, body = text.removeprefix("---\n").partition("\n---\n")
    licenses = [line.partition(":")[2].strip() for line in head.splitlines() if line.startswith("license:")]
    return body.strip(), licenses[0] if licenses else ""


def _training(checkpoint: Path) -> list[tuple[str, str]]:
    """The run's facts about its training, without the data."""
    metrics, rows = read_metrics(checkpoint), []
    if (checkpoint / TRAIN_FILE).is_file():
        start = str(read_config_file(checkpoint / TRAIN_FILE).get("pretrained", NOT_STATED))
        rows.append(("started from", _START.get(start, Path(start).name)))
    if isinstance(metrics.get("epoch"), int):
        rows.append(("epochs", str(metrics["epoch"])))
    environment = metrics.get("environment")
    if isinstance(environment, dict):
        rows += [(str(name), str(value)) for name, value in environment.items()]
    return rows or [("training", "The model tells nothing of its training.")]


def _trained_on(checkpoint: Path, about: AboutModel) -> list[DataTerms]:
    """The data sets that the run names, followed by those that only its makers name."""
    found = read_metrics(checkpoint).get("data")
    named = [one for one in found if isinstance(one, dict) and one.get("name")] if isinstance(found, list) else []
    told = []
    for one in named:
        rendered = one.get("rendered")
        terms = _terms(str(one["name"]), rendered if isinstance(rendered, dict) else None, about.training_data)
        count = f"{one.get('images')} images of {one.get('identities')} identities"
        told.append(terms.model_copy(update={"source": f"{count}; {terms.source}"}))
    known = {terms.name for terms in told}
    return told + [terms for terms in about.training_data if terms.name not in known]


def _promises(checkpoint: Path) -> list[str]:
    """The guarantees of the run's calibration and rule. A damaged or foreign one gives none, which is stated."""
    try:
        calibration = MatchCalibration.load(checkpoint)
    except (DataError, ConfigError) as error:
        return [calibration_words(None), rule_words(None), str(error)]
    try:
        rule = OpenSetRule.load(checkpoint, calibration=calibration)
    except (DataError, ConfigError) as error:
        return [calibration_words(calibration), rule_words(None), str(error)]
    return [calibration_words(calibration), rule_words(rule)]


def _files(checkpoint: Path) -> list[tuple[str, str, str]]:
    rows = []
    for path in sorted(one for one in checkpoint.rglob("*") if one.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        rows.append((path.relative_to(checkpoint).as_posix(), f"{path.stat().st_size:,}", digest))
    return rows
