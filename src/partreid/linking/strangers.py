"""How similar two tracks must be, so that people who were seen once are rarely linked to somebody else."""

from __future__ import annotations

import numpy as np
import torch

from partreid.linking.distances import DistanceFit
from partreid.retrieval.open_set import OpenSetRule
from partreid.types import PartEmbeddings
from partreid.types.open_set import UNLIKE

_ROWS = 64


def least_ratio(rule: OpenSetRule, embeddings: PartEmbeddings, fit: DistanceFit) -> float:
    """The log-likelihood ratio above which at most ``rule.max_false`` of strangers have a track among these.

    The rule's strangers are compared with the tracks as a track of another camera. A track is first linked alone, to a
    group whose mean ratio is at most that of its most similar track, so the limit also holds for groups.

    Args:
        rule: of the model and calibration that ``fit`` is of. embeddings: [N, S, D] of the tracks. fit: of their pairs.

    Raises:
        DataError, ShapeError: they are another model's.
    """
    rule.calibration.check_models(embeddings.model)
    tracks, strangers = embeddings.to(dtype=torch.float32), rule.strangers.to(dtype=torch.float32)
    matching = rule.calibration.matching.resolved(strangers, tracks)
    likeliest = []
    for start in range(0, len(strangers), _ROWS):
        some = strangers[start : start + _ROWS]
        slots = matching.comparable(some, tracks).numpy()
        ratio = fit.ratio(matching.distances(some, tracks).numpy(), fit.kinds(slots, np.zeros(slots.shape, bool)))
        likeliest.append(np.where(slots > 0, ratio, -np.inf).max(axis=1, initial=-np.inf))
    return max(float(np.sort(np.concatenate(likeliest))[-rule.rank]), rule.own_threshold(len(embeddings)))


def rule_notes(rule: OpenSetRule, embeddings: PartEmbeddings) -> list[str]:
    """Sentences with a rule's guarantee for links, and whether these tracks look like the images of the rule."""
    notes = [
        f"With {100 * rule.confidence:.3g} % confidence, at most {100 * rule.max_false:.3g} % of the tracks whose "
        f"person has no other track here are linked to somebody by their looks ({len(rule)} strangers of "
        f"{rule.fitted_on})."
    ]
    p = rule.unlike(embeddings)
    if p is None:
        notes.append("Too few tracks to test whether they look like those that the rule was fitted on.")
    elif p < UNLIKE:
        notes.append(
            f"These tracks do not look like the images that the rule was fitted on (p = {p:.2g}): do not rely on its "
            "figures, fit a rule on your own tracks (partreid calibrate --gallery)."
        )
    return notes
