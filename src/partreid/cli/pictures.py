"""The pictures that commands write: rankings (Figure 3) and attention maps (Figure 5) of a model on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid.datasets.images import read_image
from partreid.evaluation.dataset import EmbeddedSplit, model_matching
from partreid.functional.distance import pairwise_slot_distances
from partreid.inference.extractor import PartExtractor
from partreid.labels.fields import read_part_maps
from partreid.labels.grouping import label_map
from partreid.types import EvaluationResult, ModelOutput, ReIDImage


def write_rankings(
    path: Path,
    extractor: PartExtractor,
    query: EmbeddedSplit,
    gallery: EmbeddedSplit,
    result: EvaluationResult,
    *,
    rows: int = 6,
    top: int = 8,
    title: str = "",
) -> Path:
    """Draw queries spread evenly from the best to the worst average precision, each with its first results.

    Gallery pictures of the query's person and view are left out, as evaluation leaves them out.
    """
    from partreid.viz.canvas import save_png
    from partreid.viz.rankings import RankedPicture, RankingRow, draw_rankings

    chosen = spread(result.average_precision, rows)
    matching = model_matching(extractor)
    asked = query.embeddings[chosen]
    distances = matching.distances(asked, gallery.embeddings)
    for row, index in enumerate(chosen):
        distances[row][_junk(query.images[index], gallery.images)] = torch.nan
    order = distances.nan_to_num(nan=torch.inf).argsort(dim=1, stable=True)
    kept = torch.stack([line[~distances[row][line].isnan()][:top] for row, line in enumerate(order)])
    by_slot = pairwise_slot_distances(asked, gallery.embeddings, kept, normalize=matching.normalize)

    drawn = []
    for row, index in enumerate(chosen):
        person = query.images[index]
        found = [gallery.images[int(g)] for g in kept[row]]
        output = _output(extractor, [person, *found])
        results = [
            RankedPicture(
                **_shown(entry, output, rank),
                distance=float(distances[row, int(kept[row, rank - 1])]),
                slot_distances=by_slot[row, rank - 1].numpy(),
                verdict="right" if entry.pid == person.pid else "wrong",
            )
            for rank, entry in enumerate(found, start=1)
        ]
        drawn.append(RankingRow(RankedPicture(**_shown(person, output, 0)), results))
    return save_png(draw_rankings(drawn, extractor.slots, title=title), path)


def write_attention(path: Path, extractor: PartExtractor, images: Sequence[ReIDImage], *, title: str = "") -> Path:
    """Draw the attention maps of pictures beside their label maps, where they have labels."""
    from partreid.viz.attention import AttentionRow, draw_attention
    from partreid.viz.canvas import save_png

    output = _output(extractor, images)
    rows = []
    for i, entry in enumerate(images):
        label = label_map(read_part_maps(entry.label, extractor.model.config.part_schema)) if entry.label else None
        rows.append(
            AttentionRow(
                image=read_image(entry.path),
                attention=output.attention[i].numpy(),
                visibility=output.visibility[i].numpy(),
                label_map=label,
                label=_caption(entry),
            )
        )
    return save_png(draw_attention(rows, extractor.model.config.part_names, title=title), path)


def spread(values: np.ndarray, count: int) -> list[int]:
    """Positions of ``count`` values spread evenly from the highest to the lowest; NaN is left out."""
    order = np.argsort(-values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
    picks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [int(i) for i in order[picks]]


def _junk(query: ReIDImage, gallery: Sequence[ReIDImage]) -> torch.Tensor:
    return torch.tensor([entry.pid == query.pid and entry.view == query.view for entry in gallery])


def _output(extractor: PartExtractor, images: Sequence[ReIDImage]) -> ModelOutput:
    output = next(extractor.outputs(list(images)))
    assert len(output.embeddings) == len(images), "more pictures than fit one batch"
    return output


def _shown(entry: ReIDImage, output: ModelOutput, position: int) -> dict[str, Any]:
    """What a :class:`RankedPicture` shows of a query as of a result."""
    return {
        "image": read_image(entry.path),
        "label": _caption(entry),
        "attention": output.attention[position].numpy(),
        "visibility": output.embeddings.visibility[position].numpy(),
    }


def _caption(entry: ReIDImage) -> str:
    return f"id {entry.pid}" + ("" if entry.camid is None else f" · cam {entry.camid}")
