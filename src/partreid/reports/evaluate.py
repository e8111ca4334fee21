"""``evaluate(model, data)``: the scores of a model on a data set, with figures, a report and tables for a paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from partreid import processes
from partreid.datasets.readers import DataLike, read_datasets
from partreid.errors import DataError, nearest, warn
from partreid.evaluation.dataset import QuerySetScores, SearchedSet, query_sets, search_sets, with_needed_labels
from partreid.evaluation.evaluator import EvaluationConfig
from partreid.evaluation.reranking import RerankingConfig
from partreid.evaluation.statistics import with_confidence
from partreid.files import write_text
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.objects import Guided, guided, html_table
from partreid.progress import Progress, no_progress
from partreid.reports.tables import as_csv, as_latex, in_words
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.how_compared import HowCompared, load_for_comparison, model_name
from partreid.runners.adaptation import Adaptation
from partreid.runners.runner import TorchRunner
from partreid.runtime import Precision, RuntimeConfig, runtime_of
from partreid.types import EvaluationResult, ReIDDataset

if TYPE_CHECKING:
    from partreid.reports.run_report import RunReport

METRICS = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mAP": "mAP", "mINP": "mINP"}
"""The scores: their keys in every file, and their names in tables."""


class NoQuerySetError(DataError, KeyError):
    """An evaluation has no query set of that name."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Mapping[str, EvaluationResult], Guided):
    """A model's scores on a data set: a mapping from the name of a query set to its :class:`EvaluationResult`.

    Attributes:
        model: as given to :func:`evaluate`. dataset: the searched set. how: the way images were compared.
        scores: by query set, also of each embedding alone (Table 3), and with re-ranking if requested. Under torchrun
            only the first process has scores.
        searched: the embeddings by query set, from which figures are drawn; empty if several sets were evaluated.
        labels: label folder of the images that are drawn.

    Example:
        >>> evaluation = evaluate("runs/light", "market1501")  # doctest: +SKIP
        >>> evaluation.mAP, evaluation["query"].rank(1)  # doctest: +SKIP
        (0.541, 0.667)
    """

    model: str | Path | PartExtractor
    dataset: ReIDDataset
    how: HowCompared
    scores: Mapping[str, QuerySetScores]
    searched: Mapping[str, SearchedSet] = field(default_factory=dict)
    labels: str = AUTO

    def __getitem__(self, query_set: str) -> EvaluationResult:
        """The scores of a query set.

        Raises:
            NoQuerySetError: it was not searched.
        """
        if query_set not in self.scores:
            raise NoQuerySetError(f"The evaluation has no query set {query_set!r}. {nearest(query_set, self.scores)}")
        return self.scores[query_set].result

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def result(self) -> EvaluationResult:
        """The scores of the first query set, often the only one.

        Raises:
            DataError: this is not the first process of torchrun, and only the first has scores.
        """
        if not self.scores:
            raise DataError("Only the first process has scores: ask partreid.processes.is_first() before.")
        return next(iter(self.values()))

    @property
    def rank1(self) -> float:
        """Rank-1 of :attr:`result`, in [0, 1]."""
        return self.result.rank(1)

    @property
    def mAP(self) -> float:  # noqa: N802 - the field's word
        """Mean average precision of :attr:`result`, in [0, 1]."""
        return self.result.mean_ap

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean inverse negative penalty of :attr:`result`, in [0, 1]."""
        return self.result.mean_inp

    def summary(self) -> dict[str, dict[str, Any]]:
        """All scores by query set as plain values, and how images were compared: the content of ``results.json``."""
        return {
            name: {"dataset": self.dataset.name, **scores.summary(), **self.how.to_json()}
            for name, scores in self.scores.items()
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row for each query set and each way of comparison, with scores in [0, 1] under the keys of ``METRICS``."""
        rows = []
        for name, scores in self.scores.items():
            found: dict[str, Mapping[str, object]] = {"all": scores.result.summary()}
            if scores.reranked is not None:
                found["all, re-ranked"] = scores.reranked.summary()
            found |= {row.name: row.summary() for row in scores.slots}
            for embedding, values in found.items():
                place = {"dataset": self.dataset.name, "query_set": name, "embedding": embedding}
                rows.append(place | {metric: values[metric] for metric in METRICS})
        return rows

    def to_csv(self) -> str:
        """:meth:`rows` as CSV."""
        return as_csv(self.rows())

    def to_latex(self) -> str:
        """:meth:`rows` as a LaTeX table, in percent; it needs the package booktabs."""
        return as_latex(("query set", "embedding", *METRICS.values()), self._cells(), left=2, note=self._note)

    def report(self) -> RunReport:
        """The content of the page about the run.

        Raises:
            DataError: the embeddings were not kept, because several data sets were evaluated.
        """
        from partreid.reports.run_report import gather_report

        return gather_report(self._certain())

    def save(self, folder: str | Path) -> Path:
        """Write ``results.json``, ``results.csv`` and ``results.tex``, the figures of rankings and attention of each
        query set, and ``report.html``. The files have 95 % intervals of rank-1 and mAP.

        Raises:
            DataError: a file cannot be written; or as :meth:`report`.
        """
        certain, folder = self._certain(), Path(folder)
        write_text(folder / "results.json", json.dumps(certain.summary(), indent=2) + "\n", error=DataError)
        write_text(folder / "results.csv", certain.to_csv(), error=DataError)
        write_text(folder / "results.tex", certain.to_latex(), error=DataError)
        if isinstance(next(iter(self.searched.values())).extractor.runner, TorchRunner):
            from partreid.reports.drawings import save_figures

            write_text(folder / "report.html", certain.report().page(), error=DataError)
            save_figures(self.searched, self.dataset, self.labels, folder)
        else:
            warn("Figures and report need the network itself: an exported file gives scores.")
        return folder

    def _certain(self) -> Evaluation:
        """The same with 95 % intervals, as in files."""
        if not self.searched:
            raise DataError("Figures need the embeddings, which are kept of one data set only. Give out=FOLDER.")
        scores = {
            name: one if one.result.confidence else replace(one, result=with_confidence(one.result))
            for name, one in self.scores.items()
        }
        return replace(self, scores=scores)

    def __repr__(self) -> str:
        scores = "; ".join(in_words(name, result) for name, result in self.items())
        return f"Evaluation({model_name(self.model)} on {self.dataset.name}; {scores})\n{self.how}"

    def _repr_html_(self) -> str:
        """The table, where a notebook shows the evaluation."""
        return html_table(self._note, ("query set", "embedding", *METRICS.values()), self._cells())

    @property
    def _note(self) -> str:
        return f"{model_name(self.model)} on {self.dataset.name}, %. {self.how}"

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (row["query_set"], row["embedding"], *(f"{100 * row[metric]:.1f}" for metric in METRICS))
            for row in self.rows()
        ]


class _Options(TypedDict, total=False):
    """What :func:`evaluate` takes by name."""

    query: str | Sequence[str] | None
    labels: str
    mirror: bool
    overrides: Sequence[str]
    calibration: str | Path | MatchCalibration | None
    adaptation: str | Path | Adaptation | None
    bootstrap: int
    rerank: bool
    device: str | int | None
    precision: Precision | None
    batch_size: int | None
    runtime: RuntimeConfig | None
    out: str | Path | None
    progress: Progress


@overload
def evaluate(  # type: ignore[overload-overlap]  # a text is one data set, not a sequence of letters
    model: str | Path | PartExtractor, data: DataLike, **options: Unpack[_Options]
) -> Evaluation: ...
@overload
def evaluate(
    model: str | Path | PartExtractor, data: Sequence[str | Path | ReIDDataset], **options: Unpack[_Options]
) -> dict[str, Evaluation]: ...
@guided
def evaluate(
    model: str | Path | PartExtractor,
    data: DataLike | Sequence[DataLike],
    *,
    query: str | Sequence[str] | None = None,
    labels: str = AUTO,
    mirror: bool = False,
    overrides: Sequence[str] = (),
    calibration: str | Path | MatchCalibration | None = None,
    adaptation: str | Path | Adaptation | None = None,
    bootstrap: int = 0,
    rerank: bool = False,
    device: str | int | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
    runtime: RuntimeConfig | None = None,
    out: str | Path | None = None,
    progress: Progress = no_progress,
) -> Evaluation | dict[str, Evaluation]:
    """Search every query of a data set in its gallery, and score the rankings.

    The rule is single query. Gallery images of the query's person *and* camera are ignored; if cameras are unknown,
    only the same file is. Under torchrun each process embeds a part of the images, and the first one has the scores.

    Args:
        model: a run, a checkpoint, a Hub repository "org/name", or an extractor.
        data: a data set, its name or folder; or several, which are evaluated separately.
        query: the query sets to search; None = all.
        labels: label folder of the images that are drawn, and of all images if the model needs labels.
        mirror, overrides, calibration: how to embed and compare; by default as the model was made for.
        adaptation: statistics of the data set's cameras; as for :meth:`PartExtractor.from_pretrained`.
        bootstrap: resamplings of the queries for 95 % intervals, 0 = none. rerank: score k-reciprocal re-ranking too.
        device, precision, batch_size, runtime: as for :meth:`PartExtractor.from_pretrained`.
        out: folder for the files of :meth:`Evaluation.save`. Of several sets, each has a folder with its name in it.
        progress: of the embedding.

    Returns:
        The evaluation. For a list of data sets, one for each by its name.

    Raises:
        DataError: a set has no queries or no such query set, or an image cannot be read.
        CheckpointError, ConfigError: as ``load_for_comparison``.
    """
    datasets = read_datasets(data, labels=None)
    chosen = {one.name: query_sets(one, [query] if isinstance(query, str) else query) for one in datasets}
    if (device, precision, batch_size) != (None, None, None):
        runtime = runtime_of(runtime, device=device, precision=precision, batch_size=batch_size)
    extractor, how = load_for_comparison(
        model, runtime=runtime, mirror=mirror, overrides=overrides, calibration=calibration, adaptation=adaptation
    )
    options = EvaluationConfig(bootstrap=bootstrap, reranking=RerankingConfig() if rerank else None)
    several, found = not isinstance(data, DataLike), {}
    for dataset in datasets:
        dataset = with_needed_labels(extractor, dataset, labels)
        searched = search_sets(
            extractor, dataset, chosen[dataset.name], how=how, options=options, shared=True, progress=progress
        )
        one = Evaluation(model, dataset, how, {name: s.scores for name, s in searched.items()}, searched, labels)
        if out is not None and processes.is_first():
            one.save(Path(out) / dataset.name if len(datasets) > 1 else out)
        found[dataset.name] = replace(one, searched={}) if several else one  # several may be too much for the memory
    return found if several else found[datasets[0].name]
