"""How well each embedding ranks alone, and all together with and without visibility (paper §4.4.3, Table 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.evaluation.evaluator import EvaluationConfig, Identities, MatchedIdentities, evaluate_rules
from partreid.objects import Guided
from partreid.parts import FOREGROUND, GLOBAL, HOLISTIC
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, check_comparable
from partreid.types._id_values import Ids


@dataclass(frozen=True, repr=False)
class SlotRow(Guided):
    """One row of Table 3.

    Attributes:
        name: of the embedding or combination.
        rank1, rank5, rank10, mean_ap, mean_inp: scores in [0, 1].
        visible: mean visibility of the queries' embeddings (over images and slots, junk left out): the fraction that is
            visible, where visibilities are 0 or 1.
    """

    name: str
    rank1: float
    rank5: float
    rank10: float
    mean_ap: float
    mean_inp: float
    visible: float

    def summary(self) -> dict[str, float | str]:
        """The row as plain values, for JSON and tables; keys as in ``EvaluationResult.summary``."""
        scores = {"rank1": self.rank1, "rank5": self.rank5, "rank10": self.rank10}
        return {"name": self.name, **scores, "mAP": self.mean_ap, "mINP": self.mean_inp, "visible": self.visible}


def slot_mapping(
    embeddings: PartEmbeddings, *, holistic: Mapping[str, Tensor] | None = None
) -> dict[str, PartEmbeddings]:
    """Each embedding alone, then the combinations, in the order of Table 3.

    Args:
        embeddings: [B, S, D] foreground and parts.
        holistic: further vectors that are always visible, by name, each [B, any width]: "global", "concat".

    Returns:
        The holistic ones, each slot, then "parts" and "foreground + parts" where there are both.

    Raises:
        ShapeError: a holistic tensor is not [B, width], or is called like a slot.

    Example:
        >>> import torch
        >>> e = PartEmbeddings(torch.zeros(2, 2, 8), torch.ones(2, 2), ("foreground", "head"))
        >>> list(slot_mapping(e, holistic={"global": torch.zeros(2, 16)}))
        ['global', 'foreground', 'head', 'foreground + parts']
    """
    table: dict[str, PartEmbeddings] = {}
    for name, vectors in (holistic or {}).items():
        if vectors.ndim != 2 or len(vectors) != len(embeddings) or name in embeddings.slots:
            raise ShapeError(
                f"Holistic vectors {name!r} must be [{len(embeddings)}, width] under a name that is no slot, "
                f"got {tuple(vectors.shape)}; the slots are {embeddings.slots}."
            )
        seen = vectors.new_ones(len(vectors), 1)
        one = {"vectors": vectors[:, None], "visibility": seen, "slots": (name,), "compare_weights": {}}
        table[name] = replace(embeddings, **one)  # type: ignore[arg-type]
    table |= {slot: embeddings.select(slot) for slot in embeddings.slots}
    parts = [slot for slot in embeddings.slots if slot not in HOLISTIC]
    if len(parts) > 1:
        table["parts"] = embeddings.select(*parts)
    if parts and FOREGROUND in embeddings.slots:
        table[f"{FOREGROUND} + parts"] = embeddings.select(FOREGROUND, *parts)
    if parts and GLOBAL in embeddings.slots:
        table[" + ".join([*(slot for slot in embeddings.slots if slot in HOLISTIC), "parts"])] = embeddings
    return table


def rule_of(matching: MatchingConfig, slots: Sequence[str]) -> MatchingConfig:
    """The rule for embeddings of these slots alone: what it says of other slots is left out, and all are compared.

    Example:
        >>> rule_of(MatchingConfig(slots=("head", "legs"), slot_weights={"head": 2, "legs": 3}), ["legs"]).slot_weights
        {'legs': 3.0}
    """
    by_slot = {"visibility_threshold": matching.visibility_threshold, "slot_weights": matching.slot_weights}
    own = {
        field: {slot: value for slot, value in values.items() if slot in slots}
        for field, values in by_slot.items()
        if isinstance(values, dict)
    }
    return matching.model_copy(update={**own, "slots": None})


def slot_table(
    query: Mapping[str, PartEmbeddings],
    gallery: Mapping[str, PartEmbeddings],
    query_ids: Identities | tuple[Ids, Ids | None],
    gallery_ids: Identities | tuple[Ids, Ids | None],
    *,
    matching: MatchingConfig | None = None,
    options: EvaluationConfig | None = None,
) -> list[SlotRow]:
    """Scores of each named embedding: the paper's Table 3.

    An embedding of several slots gives two rows, with and without visibility. One of a single slot gives one row,
    with it: where the part is invisible in a query, all its distances are infinite, and the query still counts, its
    gallery in stored order. That is the price of an invisible part, and what the average over the parts avoids.
    Embeddings that are selections of another one's slots take no products of their own.

    Args:
        query: by name, for example from :func:`slot_mapping`; widths may differ between names.
        gallery: the same names.
        query_ids, gallery_ids: ``(pids, camids)``.
        matching: normalisation and weights, as the model was made for where None; its ``slots`` must be None.
        options: memory; the rows hold no interval and are never re-ranked.

    Raises:
        ShapeError: the names differ, or ``matching`` names slots; else as ``evaluate_embeddings``.
        DataError: no query has a positive.
    """
    matching, options = MatchingConfig.given(matching), EvaluationConfig.given(options)
    if set(query) != set(gallery):
        raise ShapeError(f"Query and gallery must hold the same embeddings, got {list(query)} and {list(gallery)}.")
    if matching.slots is not None:
        raise ShapeError(f"The table compares every slot: leave matching.slots at None, got {matching.slots}.")
    options = options.model_copy(update={"bootstrap": 0, "reranking": None})
    rows: dict[str, list[SlotRow]] = {name: [] for name in query}
    for holder, names in _holders(query, gallery).items():
        sides = query[holder], gallery[holder]
        check_comparable(*sides)
        rule = rule_of(matching, sides[0].slots).resolved(*sides)
        kinds = [kind for name in names for kind in _kinds(name, query[name].slots, rule)]
        rules = [rule for _, _, rule in kinds]
        results = evaluate_rules(*sides, query_ids, gallery_ids, rules=rules, options=options)
        counted, _ = MatchedIdentities.of(query_ids, gallery_ids, sizes=(len(sides[0]), len(sides[1]))).counted
        for (name, label, _), result in zip(kinds, results, strict=True):
            seen = rule_of(matching, query[name].slots).prepare(query[name]).visibility
            visible = float(seen[torch.from_numpy(counted)].mean())
            rank1, rank5, rank10 = map(result.rank, (1, 5, 10))
            rows[name].append(SlotRow(label, rank1, rank5, rank10, result.mean_ap, result.mean_inp, visible))
    return [row for own in rows.values() for row in own]


def _kinds(name: str, slots: tuple[str, ...], rule: MatchingConfig) -> list[tuple[str, str, MatchingConfig]]:
    """The rows of an embedding of these slots: its name, the row's, and the rule that it is compared by."""
    rule = rule.model_copy(update={"slots": slots})
    if len(slots) < 2 or rule.visibility == "ignore":
        return [(name, name, rule)]
    without = rule.model_copy(update={"visibility": "ignore"})
    return [(name, f"{name}, with visibility", rule), (name, f"{name}, without visibility", without)]


def _holders(query: Mapping[str, PartEmbeddings], gallery: Mapping[str, PartEmbeddings]) -> dict[str, list[str]]:
    """The embeddings whose vectors are multiplied, by name, each with the names of those that are selections of it."""
    holders: dict[str, list[str]] = {}
    for name in sorted(query, key=lambda name: -len(query[name].slots)):
        held = (one for one in holders if all(_holds(side[one], side[name]) for side in (query, gallery)))
        holders.setdefault(next(held, name), []).append(name)
    return {holder: sorted(names, key=list(query).index) for holder, names in holders.items()}


def _holds(whole: PartEmbeddings, part: PartEmbeddings) -> bool:
    """Whether the part is a selection of slots of the whole."""
    if not set(part.slots) <= set(whole.slots):
        return False
    own = {slot: weight for slot, weight in whole.compare_weights.items() if slot in part.slots}
    about = (part.model, part.compare_normalized, part.compare_weights, part.vectors.dtype, part.device, part.shape)
    shape = (len(whole), len(part.slots), whole.width)
    if about != (whole.model, whole.compare_normalized, own, whole.vectors.dtype, whole.device, shape):
        return False
    places = [whole.slots.index(slot) for slot in part.slots]
    return torch.equal(part.visibility, whole.visibility[:, places]) and all(
        torch.equal(part.vectors[:, i], whole.vectors[:, place]) for i, place in enumerate(places)
    )
