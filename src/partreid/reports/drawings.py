"""Rankings and attention of a model on a data set (paper, Figures 3 to 5): one call gives an image or a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from partreid.datasets.readers import DataLike, read_datasets
from partreid.errors import ConfigError, DataError, ShapeError, nearest
from partreid.evaluation.dataset import SearchedSet, query_sets, search_sets, with_needed_labels
from partreid.files import write_text
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.objects import Guided
from partreid.progress import Progress, no_progress
from partreid.reports.figures import QueryChoice, attention_rows, ranking_row, spread
from partreid.reports.pages import attention_page, rankings_page
from partreid.reports.tables import in_words
from partreid.retrieval.how_compared import HowCompared, load_for_comparison, model_name
from partreid.runtime import RuntimeConfig
from partreid.types import ReIDDataset
from partreid.viz.attention import draw_attention
from partreid.viz.canvas import save_png
from partreid.viz.rankings import draw_rankings

ALL = "all"
"""The word in ``by`` for the comparison of all slots."""
_RANKINGS, _ATTENTION = 6, 8  # images in the figures of an evaluation


@dataclass(frozen=True, eq=False, repr=False)
class Drawing(Guided):
    """A figure that can be written as an image or as a page.

    Attributes:
        title: of it. draw: makes the image. page: makes one self-contained HTML page.
        compared: the name of each model, and how its images were compared.
    """

    title: str
    draw: Callable[[], Figure]
    page: Callable[[], str]
    compared: tuple[tuple[str, HowCompared], ...]

    def save(self, path: str | Path) -> Path:
        """Write it, completely or not at all: an image as ``.png``, a page as ``.html``.

        Raises:
            ConfigError: the path has another ending. DataError: the file cannot be written.
        """
        path = Path(path)
        if is_page(path):
            write_text(path, self.page(), error=DataError)
        else:
            save_png(self.draw(), path)
        return path


def is_page(path: Path) -> bool:
    """Whether a file is written as a page, by its ending. ConfigError if it is neither .png nor .html."""
    endings = {".html": True, ".htm": True, ".png": False}
    if path.suffix.lower() not in endings:
        raise ConfigError(f"Expected a file that ends in .png or .html, got {path}.")
    return endings[path.suffix.lower()]


def draw_rankings_of(
    model: str | Path | PartExtractor,
    data: DataLike,
    *,
    queries: QueryChoice | None = None,
    query_set: str | None = None,
    against: Sequence[str | Path | PartExtractor] = (),
    by: Sequence[str] = (),
    top: int = 8,
    junk: bool = False,
    attention: bool = True,
    smooth: bool = True,
    labels: str = AUTO,
    runtime: RuntimeConfig | None = None,
    progress: Progress = no_progress,
) -> Drawing:
    """Queries with their results: attention, the distance of each slot, right or wrong.

    Args:
        model: as for :meth:`PartExtractor.from_pretrained`, or an extractor. data: a data set, its name or folder.
        queries: which ones; None = six from the best to the worst. query_set: its name; None = the first.
        against: other models; each has its own rows. by: rank by these slots only, a row for each entry: "head",
            "head+torso", or "all". top: results in a row. junk: show images of the query's person and camera too.
        attention: draw attention over the images. smooth: interpolate it. labels: folder, for models that need labels.
        runtime: where the models run. progress: shows the progress of embedding.

    Raises:
        DataError: there is no such query set or query. ShapeError: a model has no such slot.
    """
    dataset, name = _set_and_queries(data, query_set)
    choice = queries or QueryChoice()
    loaded = [load_for_comparison(one, runtime=runtime) for one in (model, *against)]
    names = [model_name(one) for one in (model, *against)]
    # A mistyped name is found before the images are embedded, which may take minutes.
    choice.check(dataset.queries[name])
    ways = [{way: _slots_by_name(way, extractor.slots) for way in by or [ALL]} for extractor, _ in loaded]
    searched = []
    for extractor, how in loaded:
        needed = with_needed_labels(extractor, dataset, labels)
        searched.append(search_sets(extractor, needed, [name], how=how, slots=False, progress=progress)[name])
    rows = []
    for index in choice.pick(dataset.queries[name], searched[0].scores.result):
        for one, found, way_slots in zip(names, searched, ways, strict=True):
            for way, slots in way_slots.items():
                title = " · ".join([*([one] if against else []), *([f"by {way}"] if by else [])])
                rows.append(
                    ranking_row(found, index, top=top, junk=junk, attention=attention, slots=slots, title=title)
                )
    every = loaded[0][0].slots
    scores = [in_words(one, found.scores.result) for one, found in zip(names, searched, strict=True)]
    title = f"{dataset.name}, {name} · {' · '.join(scores)}"
    shown = partial(rankings_page, rows, every, title=title, smooth=smooth)
    compared = tuple((one, how) for one, (_, how) in zip(names, loaded, strict=True))
    return Drawing(title, partial(draw_rankings, rows, every, title=title, smooth=smooth), shown, compared)


def draw_attention_of(
    model: str | Path | PartExtractor,
    data: DataLike,
    *,
    queries: QueryChoice | None = None,
    query_set: str | None = None,
    smooth: bool = True,
    labels: str = AUTO,
    runtime: RuntimeConfig | None = None,
    progress: Progress = no_progress,
) -> Drawing:
    """The attention map of every part, and below it the label, if the image has one.

    Arguments and errors as in :func:`draw_rankings_of`. ``labels`` is also the folder of the labels that are drawn. If
    no queries are chosen, six are spread evenly over the set.
    """
    dataset, name = _set_and_queries(data, query_set)
    choice = queries or QueryChoice()
    extractor, how = load_for_comparison(model, runtime=runtime)
    dataset = with_needed_labels(extractor, dataset, labels)
    images = dataset.queries[name]
    choice.check(images)
    result = None
    if choice.ranked:
        found = search_sets(extractor, dataset, [name], how=how, slots=False, progress=progress)
        result = found[name].scores.result
    rows = attention_rows(extractor, dataset, [images[i] for i in choice.pick(images, result)], labels)
    title = f"{dataset.name}, {name}: part attention maps"
    shown = partial(attention_page, rows, extractor.slots, title=title, smooth=smooth)
    drawn = partial(draw_attention, rows, extractor.slots, title=title, smooth=smooth)
    return Drawing(title, drawn, shown, ((model_name(model), how),))


def save_figures(searched: Mapping[str, SearchedSet], dataset: ReIDDataset, labels: str, folder: Path) -> None:
    """For each query set an image of rankings, and one of attention if the model has it. Queries are evenly chosen."""
    for name, one in searched.items():
        precision, slots = one.scores.result.average_precision, one.query.embeddings.slots
        title = f"{in_words(name, one.scores.result)}; best to worst queries"
        rows = [ranking_row(one, i) for i in spread(precision, _RANKINGS)]
        save_png(draw_rankings(rows, slots, title=title), folder / f"rankings_{name}.png")
        if one.extractor.model.config.part_names:
            images = [one.query.images[i] for i in spread(precision, _ATTENTION)]
            maps = attention_rows(one.extractor, dataset, images, labels)
            drawn = draw_attention(maps, slots, title=f"{name}: part attention maps")
            save_png(drawn, folder / f"attention_{name}.png")


def _slots_by_name(way: str, slots: tuple[str, ...]) -> tuple[str, ...] | None:
    """The slots named by an entry of ``by``; None = all."""
    if way == ALL:
        return None
    wanted = tuple(way.split("+"))
    for slot in wanted:
        if slot not in slots:
            raise ShapeError(f"by {way}: the model has no slot {slot!r}. {nearest(slot, (*slots, ALL))}")
    return wanted


def _set_and_queries(data: DataLike, query_set: str | None) -> tuple[ReIDDataset, str]:
    (dataset,) = read_datasets(data, labels=None)
    (name,) = query_sets(dataset, [query_set] if query_set else query_sets(dataset)[:1])
    return dataset, name
