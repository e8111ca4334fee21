"""The content of figures from a model and a data set: rankings (Figures 3, 4) and attention (Figure 5).

This module chooses the queries and fills the rows; ``viz`` draws the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from partreid.datasets.images import read_image
from partreid.errors import DataError, LabelError, nearest, warn
from partreid.evaluation.dataset import SearchedSet
from partreid.functional.distance import pairwise_slot_distances
from partreid.inference.extractor import PartExtractor
from partreid.labels.fields import read_part_maps
from partreid.labels.locate import AUTO, choose_label_folder, find_label
from partreid.objects import Guided
from partreid.parts import HOLISTIC, PartSchema
from partreid.types import EvaluationResult, ReIDDataset, ReIDImage
from partreid.viz.attention import AttentionRow, slot_maps
from partreid.viz.rankings import RankedImage, RankingRow


def ranking_row(
    searched: SearchedSet,
    index: int,
    *,
    top: int = 8,
    junk: bool = False,
    attention: bool = True,
    slots: tuple[str, ...] | None = None,
    title: str = "",
) -> RankingRow:
    """A query and its first results in the order of evaluation, and the first right one if it comes later.

    Args:
        searched: by a model. index: of the query. top, junk, attention: as in :func:`draw_rankings_of`.
        slots: compare only these; None = all (Eq. 9). title: distinguishes the row from others of the same query.
    """
    query, gallery = searched.query.images[index], searched.gallery.images
    matching = searched.how.matching.model_copy(update={"slots": slots})
    asked, others = matching.prepare(searched.query.embeddings[index]), matching.prepare(searched.gallery.embeddings)
    distances = matching.prepared.distances(asked, others)[0]
    same = np.array([entry.pid == query.pid for entry in gallery])
    ignored = same & [entry.view == query.view for entry in gallery]
    order = distances.argsort(stable=True).numpy()
    counted = order[~ignored[order]]
    shown = order[:top] if junk else counted[:top]
    right = np.flatnonzero(same[counted])  # ranks from 0
    if len(right) and not np.isin(shown, counted[right]).any():
        shown = np.append(shown, counted[right[0]])
    chosen = torch.from_numpy(shown)[None]
    by_slot = pairwise_slot_distances(
        asked, others, chosen, normalize=matching.normalize, visibility=matching.visibility
    )[0]
    images = list(_shown(searched.extractor, [query, *(gallery[i] for i in shown)], slots, attention=attention))
    results = [
        replace(
            image,
            distance=float(distances[i]),
            slot_distances=by_slot[place].numpy(),
            verdict="junk" if ignored[i] else "right" if same[i] else "wrong",
            rank=None if ignored[i] else int(np.flatnonzero(counted == i)[0]) + 1,
        )
        for place, (i, image) in enumerate(zip(shown.tolist(), images[1:], strict=True))
    ]
    note = _score(searched.scores.result, index) if slots is None else ""
    asking = replace(images[0], label=f"{images[0].label} · #{index}", note=note)
    farthest = distances[torch.isfinite(distances)]
    return RankingRow(asking, results, title, asked.slots, float(farthest.max()) if len(farthest) else 0.0)


def attention_rows(
    extractor: PartExtractor, dataset: ReIDDataset, images: Sequence[ReIDImage], labels: str = AUTO
) -> list[AttentionRow]:
    """The attention maps of images of a data set, with their labels for the model's parts if they have one."""
    schema = extractor.model.config.part_schema
    images = _with_labels(dataset, images, labels)
    rows = []
    for entry, (slots, maps, visibility) in zip(images, _attention(extractor, images), strict=True):
        parts = slots[len(slots) - len(maps) + 1 :]
        rows.append(
            AttentionRow(
                image=read_image(entry.path),
                attention=maps if parts else None,
                visibility=visibility[len(slots) - len(parts) :] if parts else None,
                part_maps=_label(entry, schema) if parts == schema.parts else None,
                label=_caption(entry),
                name=entry.path.name,
            )
        )
    return rows


def spread(values: np.ndarray, count: int) -> list[int]:
    """Positions of ``count`` values spread evenly from the highest to the lowest; NaN is left out."""
    order = np.argsort(-values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
    picks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [int(i) for i in order[picks]]


@dataclass(frozen=True, repr=False)
class QueryChoice(Guided):
    """Which queries to show. Without any choice, ``count`` queries are spread evenly from the best to the worst.

    Attributes:
        names: of files, or numbers from 0. best, worst: number of queries, by average precision.
        random: number of random ones. seed: of the random choice. count: see above.
    """

    names: Sequence[str] = ()
    best: int = 0
    worst: int = 0
    random: int = 0
    seed: int = 0
    count: int = 6

    @property
    def ranked(self) -> bool:
        """Whether the queries must be ranked to choose."""
        return bool(self.best or self.worst)

    def check(self, images: Sequence[ReIDImage]) -> None:
        """Refuse a mistyped name before the images are embedded, which may take minutes."""
        for name in self.names:
            find_image(images, name)

    def pick(self, images: Sequence[ReIDImage], result: EvaluationResult | None = None) -> list[int]:
        """Positions in ``images``, each once. Without a result, the default is spread over the order of the images.

        Raises:
            DataError: there is no such image, or several.
        """
        found = [find_image(images, name) for name in self.names]
        if result is not None:
            order = spread(result.average_precision, len(images))
            found += order[: self.best] + order[len(order) - min(self.worst, len(order)) :]
        if self.random:
            some = np.random.default_rng(self.seed).choice(len(images), min(self.random, len(images)), replace=False)
            found += sorted(some.tolist())
        if not found:
            scores = -np.arange(len(images), dtype=np.float64) if result is None else result.average_precision
            found = spread(scores, self.count)
        return list(dict.fromkeys(found))


def find_image(images: Sequence[ReIDImage], name: str) -> int:
    """Position of the only image with that file name, with or without folders and suffix; or else with that number."""
    path = Path(name)
    found = [
        i
        for i, image in enumerate(images)
        if image.path.parts[-len(path.parts) :] == path.parts or name == image.path.stem
    ]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(str(images[i].path) for i in found[:3])
        raise DataError(f"{len(found)} images are called {name!r}: {some}. Give the folder too, or the number.")
    if name.isdecimal() and str(int(name)) == name and int(name) < len(images):
        return int(name)
    raise DataError(
        f"No image {name!r}: expected the name of one of {len(images)} files, or a number from 0 to "
        f"{len(images) - 1}. {nearest(name, [images[i].path.name for i in range(min(len(images), 10_000))])[:200]}"
    )


def _with_labels(dataset: ReIDDataset, images: Sequence[ReIDImage], labels: str) -> list[ReIDImage]:
    """The images with their label files, if there are any. Only labels of drawn images are searched."""
    try:
        folder = choose_label_folder(dataset.root, labels)
    except LabelError as error:
        if labels != AUTO:
            raise
        warn(f"Drawn without labels: {error}")
        return list(images)
    if folder is None:
        return list(images)
    return [
        replace(one, label=one.label or find_label(one.path, dataset.root, folder, dataset.label_naming))
        for one in images
    ]


def _label(entry: ReIDImage, schema: PartSchema) -> np.ndarray | None:
    """Part maps E; None if there is no label, or (with a warning) if it does not fit."""
    try:
        return None if entry.label is None else read_part_maps(entry.label, schema)
    except LabelError as error:
        warn(f"Drawn without its label: {error}")
        return None


def _attention(
    extractor: PartExtractor, images: Sequence[ReIDImage]
) -> Iterator[tuple[tuple[str, ...], np.ndarray, np.ndarray]]:
    """For each image: the slots, attention [K+1, h, w], and the slots' visibility [S]."""
    for output in extractor.outputs(list(images)):
        seen = output.embeddings.visibility.numpy()
        for maps, visibility in zip(output.attention.numpy(), seen, strict=True):
            yield output.embeddings.slots, maps, visibility


def _shown(
    extractor: PartExtractor, images: Sequence[ReIDImage], compared: tuple[str, ...] | None, *, attention: bool
) -> Iterator[RankedImage]:
    """An entry of a row, for a query or a result, with attention and visibility of the compared slots."""
    for entry, (slots, maps, visibility) in zip(images, _attention(extractor, images), strict=True):
        chosen = compared or slots
        by_slot = slot_maps(maps[1:], slots)
        names = [slot for slot in chosen if slot not in HOLISTIC] or list(chosen)
        drawn = [by_slot[name] for name in names if name in by_slot]
        yield RankedImage(
            image=read_image(entry.path),
            label=_caption(entry),
            name=entry.path.name,
            attention=np.stack([maps[0], *drawn]) if drawn and attention else None,
            visibility=np.array([visibility[slots.index(slot)] for slot in chosen]),
        )


def _score(result: EvaluationResult, index: int) -> str:
    precision = float(result.average_precision[index])
    if np.isnan(precision):
        return "no match in the gallery"
    return f"AP {100 * precision:.0f} %, first right: {result.first_match[index]}"


def _caption(entry: ReIDImage) -> str:
    return f"id {entry.pid}" + (f" · cam {entry.camera_name}" if entry.camera_name else "")
