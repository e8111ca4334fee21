"""Visibility-weighted part-to-part distance (paper §3.4, Eq. 9).

Accuracy. The Euclidean distances come from a matrix product, |a|² + |b|² - 2ab. For near-duplicates this loses too many
digits, so they are computed again from the difference (``functional/_blocks.py``). The relative error is below 1e-4 in
float32 (measured: 3e-5) at any distance. Identical vectors have the distance 0; with ``normalize`` it is below 1e-6,
because two copies may be rounded differently. Half precision is computed in float32. But two vectors that differ by
less than the 11 bits of float16 or the 8 bits of bfloat16 are stored as one vector, so their distance is 0.

None of these functions is differentiable. Training has its own distance, whose gradient at 0 is finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from partreid.errors import ShapeError
from partreid.functional._blocks import DistanceRows, Side
from partreid.functional._checks import is_whole
from partreid.functional.visibility import VISIBILITY_RULES, query_weights, slot_weights
from partreid.lazy import no_grad, torch
from partreid.objects import guided
from partreid.types import PartEmbeddings, check_comparable, compares_normalized, comparison_weights
from partreid.types.numbers import as_tensor, require_whole

if TYPE_CHECKING:
    from torch import Tensor

MEMORY_BUDGET = 256 * 2**20
"""Default working memory in bytes, in addition to the input and the result."""


@guided
@no_grad
def part_distances(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    *,
    normalize: bool | None = None,
    visibility: str = "product",
    weights: Mapping[str, float] | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Distance of every query to every gallery image: the visibility-weighted mean over the slots (Eq. 9).

    It is computed block by block, so a tensor of [Q, G, S, D] or [Q, G, S] never exists. It is not differentiable.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], of the same slots.
        normalize: divide each vector by its length first; None = as the embeddings' model was made for
            (``PartEmbeddings.compare_normalized``).
        visibility: the weight of a slot, one of :data:`~partreid.functional.visibility.VISIBILITY_RULES`: "product"
            v_q·v_g (Eq. 9), "geometric" sqrt(v_q·v_g) (what the published code does with continuous visibilities),
            "ignore" 1.
        weights: further weights by slot name, in 0.0001..10000; a slot that is not named has 1. Only their ratios
            matter. None = as the embeddings' model was made for (``PartEmbeddings.compare_weights``).
        memory_budget: bytes of working memory, in addition to the result.

    Returns:
        [Q, G] Euclidean (not squared) distances; infinity if no slot is visible in both. Under "ignore" no distance is
        infinite.

    Raises:
        ShapeError: slots, widths or devices differ, a value is NaN or infinite, a visibility lies outside [0, 1], a
            vector is too long to be squared, a weight is for an unknown slot or out of range.
        ConfigError: there is no such visibility rule.

    Example:
        >>> q = PartEmbeddings(torch.zeros(1, 2, 3), torch.tensor([[1.0, 0.0]]), ("foreground", "head"))
        >>> g = PartEmbeddings(torch.ones(1, 2, 3), torch.tensor([[1.0, 1.0]]), ("foreground", "head"))
        >>> part_distances(q, g)
        tensor([[1.7321]])
    """
    rows = distance_rows(
        query, gallery, normalize=normalize, visibility=visibility, weights=weights, memory_budget=memory_budget
    )
    return rows.whole()


@guided
@no_grad
def distance_rows(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    *,
    normalize: bool | None = None,
    visibility: str = "product",
    weights: Mapping[str, float] | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> DistanceRows:
    """The distances of :func:`part_distances`, some queries at a time.

    It checks both sides once, and computes once the numbers that all blocks need. Arguments and errors are those of
    :func:`part_distances`.

    Example:
        >>> e = PartEmbeddings(torch.tensor([[[0.0]], [[1.0]], [[3.0]]]), torch.ones(3, 1), ("foreground",))
        >>> distance_rows(e, e).write(slice(1, 3), torch.empty(2, 3))
        tensor([[1., 0., 2.],
                [3., 2., 0.]])
    """
    mean = SlotMean(query, gallery, visibility, weights)
    return mean_rows(query, gallery, [mean], normalize=normalize, memory_budget=memory_budget)


class SlotMean(NamedTuple):
    """A weighted mean of the distances of some slots.

    Attributes:
        query, gallery: with these slots and their visibilities; their vectors are not looked at.
        visibility, weights: as in :func:`part_distances`.
    """

    query: PartEmbeddings
    gallery: PartEmbeddings
    visibility: str
    weights: Mapping[str, float] | None


@no_grad
def mean_rows(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    means: Sequence[SlotMean],
    *,
    normalize: bool | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> DistanceRows:
    """The distances of R means over slots of these embeddings, whose vectors are multiplied once for all means.

    Other arguments and errors as in :func:`part_distances`.
    """
    sides: tuple[list[Tensor], list[Tensor]] = [], []
    for asked, stored, rule, weights in means:
        dtype, divided = _checked(query, gallery, normalize, rule, memory_budget)
        weights = comparison_weights(asked, stored) if weights is None else weights
        factors = (
            query_weights(asked.visibility.to(dtype), rule, asked.slots, weights),
            slot_weights(stored.visibility.to(dtype), rule),
        )
        places = [query.slots.index(slot) for slot in asked.slots]
        for side, own in zip(sides, factors, strict=True):
            side.append(own.new_zeros(len(own), len(query.slots)))
            side[-1][:, places] = own
    a, b = (
        Side.of(e, torch.stack(factors), normalize=divided, memory_budget=memory_budget // 4)
        for e, factors in zip((query, gallery), sides, strict=True)
    )
    return DistanceRows(a, b, memory_budget=memory_budget)


@guided
@no_grad
def slot_distances(query: PartEmbeddings, gallery: PartEmbeddings, *, normalize: bool | None = None) -> Tensor:
    """Distance of every query to every gallery image in each slot alone, whatever the visibility.

    The result is S times as large as that of :func:`part_distances`, so it is for a few images, not a whole gallery.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], of the same slots.
        normalize: as in :func:`part_distances`.

    Returns:
        [Q, G, S] Euclidean distances.

    Raises:
        ShapeError: as :func:`part_distances`.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[:, None], torch.ones(2, 1), ("foreground",))
        >>> slot_distances(e, e)[0, :, 0]
        tensor([0.0000, 1.4142])
    """
    _checked(query, gallery, normalize, "ignore")
    slots = (
        part_distances(query.select(s), gallery.select(s), normalize=normalize, visibility="ignore")
        for s in query.slots
    )
    return torch.stack(list(slots), dim=2)


@no_grad
def pairwise_slot_distances(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    indices: Tensor,
    *,
    normalize: bool | None = None,
    visibility: str = "product",
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Distance per slot of each query to the gallery images chosen for it. It explains a ranking.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], of the same slots.
        indices: [Q, k] positions in the gallery.
        normalize, visibility, memory_budget: as in :func:`part_distances`.

    Returns:
        [Q, k, S] Euclidean distances; NaN if the slot is not compared, because it is not visible in both. Under
        "ignore" every slot is compared.

    Raises:
        ShapeError: as :func:`part_distances`, or the indices are not [Q, k] integers within the gallery.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[:, None], torch.ones(2, 1), ("foreground",))
        >>> pairwise_slot_distances(e, e, torch.tensor([[1], [1]])).flatten()
        tensor([1.4142, 0.0000])
    """
    dtype, normalize = _checked(query, gallery, normalize, visibility, memory_budget)
    indices = as_tensor("indices", indices)
    if indices.ndim != 2 or len(indices) != len(query) or not is_whole(indices):
        raise ShapeError(
            f"indices must be [Q, k] integers with Q = {len(query)}, got {indices.dtype} {tuple(indices.shape)}."
        )
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < len(gallery):
        raise ShapeError(f"indices must lie in 0..{len(gallery) - 1}, got {int(indices.min())}..{int(indices.max())}.")
    left = torch.arange(len(query), device=indices.device).repeat_interleave(indices.shape[1])
    right = indices.reshape(-1)
    result = torch.empty(len(right), len(query.slots), dtype=dtype, device=query.vectors.device)
    step = max(1, memory_budget // (dtype.itemsize * 6 * query.width * len(query.slots)))
    for start in range(0, len(right), step):
        a, b = query[left[start : start + step]], gallery[right[start : start + step]]
        x, y = (e.normalized() if normalize else e for e in (a.to(dtype=dtype), b.to(dtype=dtype)))
        block = torch.linalg.vector_norm(x.vectors - y.vectors, dim=2)
        if not torch.isfinite(block).all():
            _check_finite(a, query)
            _check_finite(b, gallery)
        seen, shown = (slot_weights(e.visibility, visibility) > 0 for e in (a, b))
        block[~(seen & shown)] = torch.nan
        result[start : start + step] = block
    return result.view(*indices.shape, len(query.slots))


@no_grad
def paired_distances(
    first: PartEmbeddings,
    second: PartEmbeddings,
    *,
    normalize: bool | None = None,
    visibility: str = "product",
    weights: Mapping[str, float] | None = None,
) -> Tensor:
    """Distance of each image to the one at the same place in another batch (Eq. 9), for chosen pairs.

    Args:
        first, second: [N, S, D], of the same slots.
        normalize, visibility, weights: as in :func:`part_distances`.

    Returns:
        [N]; infinity if no slot is visible in both.

    Raises:
        ShapeError: as :func:`part_distances`, or the numbers of images differ.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[:, None], torch.tensor([[1.0], [0.5]]), ("foreground",))
        >>> paired_distances(e, e[[1, 1]])
        tensor([1.4142, 0.0000])
    """
    dtype, normalize = _checked(first, second, normalize, visibility)
    if len(first) != len(second):
        raise ShapeError(f"Expected as many images on both sides, got {len(first)} and {len(second)}.")
    a, b = (e.normalized() if normalize else e for e in (first.to(dtype=dtype), second.to(dtype=dtype)))
    weights = comparison_weights(first, second) if weights is None else weights
    asked = query_weights(a.visibility, visibility, a.slots, weights)
    shared = asked * slot_weights(b.visibility, visibility)
    total = shared.sum(dim=1)
    slots = torch.linalg.vector_norm(a.vectors - b.vectors, dim=2)
    if not torch.isfinite(slots).all():  # only then, because the check takes as long as the distances
        _check_finite(first, first)
        _check_finite(second, second)
    distances: Tensor = slots * shared
    return distances.sum(dim=1).div_(total).masked_fill_(total == 0, torch.inf)


def comparable_slots(query: PartEmbeddings, gallery: PartEmbeddings, *, visibility: str = "product") -> Tensor:
    """The number of slots that each pair compares: those with a weight above 0 in both images, however small.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], of the same slots.
        visibility: as in :func:`part_distances`; "ignore" compares all S.

    Returns:
        [Q, G] int64; 0 where :func:`part_distances` is infinite.

    Raises:
        ShapeError: as :func:`part_distances`.

    Example:
        >>> e = PartEmbeddings(torch.zeros(2, 2, 3), torch.tensor([[1.0, 0.0], [0.2, 1.0]]), ("foreground", "head"))
        >>> comparable_slots(e, e)
        tensor([[1, 1],
                [1, 2]])
    """
    _checked(query, gallery, None, visibility)
    seen, shown = ((slot_weights(e.visibility, visibility) > 0).float() for e in (query, gallery))
    return (seen @ shown.T).long()


def _checked(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    normalize: bool | None,
    visibility: str,
    memory_budget: int = MEMORY_BUDGET,
) -> tuple[torch.dtype, bool]:
    """Check both sides. Returns the precision for computing, and whether to normalise."""
    check_comparable(query, gallery)
    VISIBILITY_RULES.check(visibility)
    require_whole("memory_budget (bytes)", memory_budget, least=1)
    if not query.slots or not query.width:
        raise ShapeError(f"Expected at least one slot and one number per vector, got {query!r}.")
    if query.vectors.device != gallery.vectors.device:
        raise ShapeError(
            f"Query and gallery lie on different devices, {query.vectors.device} and {gallery.vectors.device}. "
            "Move one with .to(device)."
        )
    for embeddings in (query, gallery):
        if not ((embeddings.visibility >= 0) & (embeddings.visibility <= 1)).all():
            embeddings.validate()
    double = torch.float64 in (query.vectors.dtype, gallery.vectors.dtype)  # half would overflow in the squares
    return (
        torch.float64 if double else torch.float32,
        compares_normalized(query, gallery) if normalize is None else normalize,
    )


def _check_finite(embeddings: PartEmbeddings, whole: PartEmbeddings) -> None:
    """Check that some embeddings contain no NaN. The message names the image by its position among all."""
    # The minimum and the maximum tell whether all numbers are finite, without a mask as large as the vectors.
    if not torch.isfinite(torch.stack([embeddings.vectors.amin(dim=2), embeddings.vectors.amax(dim=2)])).all():
        whole.validate()
