"""[Q, G] distances in blocks. Only visible rows are computed.

For each slot and block, two matrices of visible rows are multiplied. The remaining steps are |a|² + |b|² - 2ab, root,
weight and sum. PyTorch needs a pass over memory for each of them. If numba is installed (extra ``search``), it does
them in one pass. Both give the same result up to rounding.

The error of the product is a few units in the last place *of the squared lengths*. This is harmless between unlike
vectors, but too much between near-duplicates. So each pair whose squared distance is at most 1 % of |a|² + |b|² is
computed again from the difference a - b.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from partreid.errors import ShapeError
from partreid.functional._loops import compiled_loops
from partreid.lazy import no_grad, torch
from partreid.types import PartEmbeddings

if TYPE_CHECKING:
    from torch import Tensor

_PER_SLOT = 4  # numbers kept for each slot of an image: length, factor, scale, and intermediate results
_BUFFERS = 3  # arrays of a block's size in addition to sums: products, values spread over columns, for computing again
_LARGEST = (1024, 2048)  # queries and gallery images of a block on a CPU; matrix products are quick for large blocks
_WORTH_GATHERING = 64  # with fewer queries, gathering a gallery's rows costs more than multiplying all of them
_SHORTEST = 1e-12  # normalising divides a shorter vector by this number
_RECOMPUTE_BELOW = 1e-2


class DistanceRows:
    """Rows of the weighted mean distances of queries to a gallery (Eq. 9), some queries at a time.

    Several means of the same vectors, which differ in slots or weights, share the products of these vectors.

    Args:
        query, gallery: the two sides, with factors for the same R means.
        memory_budget: bytes of working memory, in addition to the result.
    """

    def __init__(self, query: Side, gallery: Side, *, memory_budget: int) -> None:
        self._query, self._gallery = query, gallery
        self._on_cpu = query.vectors.device.type == "cpu"
        self._slots, self._width = query.vectors.shape[1:]
        seen, shown = (side.factors > 0 for side in (query, gallery))
        self._means = _by_slot(seen.any(dim=1) & shown.any(dim=1))
        self._loops: ModuleType | None = None
        if self._on_cpu and self.dtype == torch.float32:
            self._loops = compiled_loops(len(query) * len(gallery) * sum(map(len, self._means)))
        hidden = not bool(seen.any(dim=0).all() and shown.any(dim=0).all())
        self._buffers = _BUFFERS + len(query.factors)
        self._gather = self._loops is not None or (self._on_cpu and hidden and len(query) >= _WORTH_GATHERING)
        kept = (_PER_SLOT - 1 + len(query.factors)) * self._slots * (len(query) + len(gallery))
        self._memory = max(1, memory_budget // self.dtype.itemsize - kept)
        self._height, self._breadth = self._sides()

    @property
    def dtype(self) -> torch.dtype:
        """Of the distances."""
        return self._gallery.lengths.dtype

    def blocks(self, *, beside: int = 0) -> list[slice]:
        """Slices of queries, as large as the memory budget allows, because larger slices are faster. ``beside``: bytes
        per query that the caller needs."""
        image = self._slots * self._width
        left = self._memory * 7 // 8 - self._buffers * self._height * self._breadth - image * self._breadth
        return even_slices(len(self._query), left // (image + beside // self.dtype.itemsize))

    @no_grad
    def whole(self) -> Tensor:
        """All distances, [Q, G]."""
        result = torch.empty(len(self._query), len(self._gallery), dtype=self.dtype, device=self._query.vectors.device)
        for some in self.blocks():
            self.write(some, result[some])
        return result

    def room(self, queries: int) -> Tensor:
        """An empty [queries, G] to write into."""
        return self._gallery.lengths.new_empty(queries, len(self._gallery))

    @no_grad
    def write(self, some: slice, out: Tensor) -> Tensor:
        """Distances of some queries, a slice of :meth:`blocks`, to the whole gallery, in ``out`` [q, G], or [R, q, G]
        for R means."""
        means = out[None] if out.ndim == 2 else out
        work = out.new_empty(self._buffers, self._height * self._breadth)
        space = self._space(self._breadth)
        parts = even_slices(means.shape[1], self._height)
        queries = []
        for part in parts:
            images = slice(some.start + part.start, some.start + part.stop)
            queries.append(self._query.block(images, self._space(part.stop - part.start)))
        for columns in even_slices(len(self._gallery), self._breadth):
            gallery = self._gallery.block(columns, space)
            for part, query in zip(parts, queries, strict=True):
                self._write_block(query, gallery, work, means[:, part, columns])
        return out

    def _write_block(self, query: Block, gallery: Block, work: Tensor, out: Tensor) -> None:
        """Weighted mean distances of two blocks."""
        other, *totals = (_shaped(flat, *out.shape[1:]) for flat in (work[0], *work[_BUFFERS:]))
        for total in totals:
            total.zero_()
        for s, means in enumerate(self._means):
            if not means:
                continue
            a, b = (block.vectors[s, : block.counts[s]] for block in (query, gallery))
            products = _shaped(work[1], len(a), len(b))
            torch.addmm(products, a, b.T, beta=0, alpha=-2, out=products)
            add = self._add if self._loops is None else self._add_compiled
            add(work, (query, gallery), s, {r: totals[r] for r in means})
        for r, (total, mean) in enumerate(zip(totals, out, strict=True)):
            weight = torch.mm(query.factors[r].T, gallery.factors[r], out=other)
            if self._loops is None:
                # 0 / 0 = NaN if no slot is compared.
                mean.copy_(total.div_(weight).nan_to_num_(nan=torch.inf, posinf=torch.inf))
            else:
                self._loops.divide(total.numpy(), weight.numpy(), mean.numpy())

    def _add(self, work: Tensor, blocks: tuple[Block, Block], slot: int, totals: dict[int, Tensor]) -> None:
        """Compute one slot's distances from its products, and add them to the sums of the means that compare it."""
        query, gallery = blocks
        height, breadth = (block.counts[slot] for block in blocks)
        vectors = query.vectors[slot, :height], gallery.vectors[slot, :breadth]
        lengths = query.lengths[slot, :height], gallery.lengths[slot, :breadth]
        distance = euclidean(_shaped(work[1], height, breadth), vectors, lengths, memory=self._memory // 8)
        if not distance.numel():
            return
        images = gallery.factors.shape[2]
        spare, other = (_shaped(flat, height, images) for flat in work[:2])
        if breadth < images:
            distance, spare = torch.index_select(distance, 1, gallery.rows[slot], out=spare), other
        for r, total in totals.items():
            last = r == max(totals)
            weighted = torch.mul(distance, gallery.factors[r, slot], out=distance if last else spare)
            weighted.mul_(query.weights[r, slot, :height, None])
            if height < len(total):
                total.index_add_(0, query.places[slot, :height], weighted)
            else:
                total.add_(weighted)

    def _add_compiled(self, work: Tensor, blocks: tuple[Block, Block], slot: int, totals: dict[int, Tensor]) -> None:
        """The same by one compiled loop for each mean, in as many threads as PyTorch has."""
        assert self._loops is not None
        loop, threads, images = self._loops.add_distances, torch.get_num_threads(), blocks[0].factors.shape[2]
        products = _shaped(work[1], *(block.counts[slot] for block in blocks)).numpy()
        sums = [(*(block.slot(slot, r) for block in blocks), total.numpy()) for r, total in totals.items()]

        def add(some: slice) -> None:
            for query, gallery, total in sums:
                loop(products, query, gallery, (some.start, some.stop), total)

        if threads == 1:
            add(slice(0, images))
            return
        slices = even_slices(images, math.ceil(images / threads))
        with ThreadPoolExecutor(len(slices)) as pool:
            list(pool.map(add, slices))

    def _space(self, images: int) -> Tensor | None:
        """Memory in which the rows of so many images are gathered, if they are gathered."""
        shape = self._slots, images, self._width
        return self._gallery.lengths.new_empty(shape) if self._gather else None

    def _sides(self) -> tuple[int, int]:
        """Queries and gallery images of a block that takes at most half the memory (at least 1×1)."""
        # A square block reads each vector the fewest times, so solve buffers·n² + 3·image·n = memory for n.
        memory, image = self._memory // 2, self._slots * self._width
        side = int((math.sqrt(9 * image**2 + 4 * self._buffers * memory) - 3 * image) / (2 * self._buffers))
        tallest, broadest = side, len(self._gallery)
        if self._on_cpu:  # the lower the more means, so that a block takes no more memory: the caller's queries have it
            tallest, broadest = _LARGEST[0] * (_BUFFERS + 1) // self._buffers, _LARGEST[1]
        height = max(1, min(len(self._query), side, tallest))
        breadth = (memory - 2 * image * height) // (self._buffers * height + image)
        return height, max(1, min(len(self._gallery), breadth, broadest))


def _by_slot(used: Tensor) -> list[list[int]]:
    """Of each slot the means that compare it in any pair, from a mask [R, S]."""
    return [[r for r, compares in enumerate(column) if compares] for column in used.T.tolist()]


def _shaped(flat: Tensor, height: int, breadth: int) -> Tensor:
    return flat[: height * breadth].view(height, breadth)


class Block(NamedTuple):
    """Some images of one side, n of them. A row is one image's vector of one slot.

    Attributes:
        vectors: [S, n, D]; slot s uses the first ``counts[s]`` rows. lengths: [S, n] their squared lengths.
        weights: [R, S, n] their factors in R means. counts: number of rows of each slot.
        places: [S, n] int64 each row's image. rows: [S, n] int64 each image's row; 0 if it has no row.
        factors: [R, S, n] each image's factor; 0 if it has no row.
    """

    vectors: Tensor
    lengths: Tensor
    weights: Tensor
    counts: list[int]
    places: Tensor
    rows: Tensor
    factors: Tensor

    def slot(self, slot: int, mean: int) -> tuple[np.ndarray, ...]:
        """One slot in one mean for compiled loops: vectors, lengths, weights and places of its rows; row and factor of
        each image."""
        tensors = self.vectors, self.lengths, self.weights[mean], self.places
        own = (tensor[slot, : self.counts[slot]] for tensor in tensors)
        return tuple(tensor.numpy() for tensor in (*own, self.rows[slot], self.factors[mean, slot]))


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    Attributes:
        vectors: [N, S, D]. factors: [R, N, S] this side's factor of each slot's weight in R means, in the working
            precision; 0 = not compared.
        lengths: [N, S] squared lengths of the vectors as they are compared.
        scale: [N, S] numbers by which the vectors are multiplied first; None = they are not.
    """

    vectors: Tensor
    factors: Tensor
    lengths: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, embeddings: PartEmbeddings, factors: Tensor, *, normalize: bool, memory_budget: int) -> Side:
        """A side in the precision of its factors [R, N, S]; errors as in :func:`squared_lengths`."""
        lengths = squared_lengths(embeddings, dtype=factors.dtype, memory_budget=memory_budget)
        if not normalize:
            return cls(embeddings.vectors, factors, lengths, None)
        length = lengths.sqrt_()
        scale = 1 / length.clamp(min=_SHORTEST)
        return cls(embeddings.vectors, factors, length.mul_(scale).square_(), scale)

    def __len__(self) -> int:
        return len(self.vectors)

    def block(self, some: slice, space: Tensor | None) -> Block:
        """Some images.

        Args:
            space: [S, at least n, D] memory in which the rows with a factor above 0 in any mean are gathered. None =
                use all rows, and do not copy them unless they must be changed.
        """
        factors, lengths = self.factors[:, some].mT.contiguous(), self.lengths[some].T
        if space is None:
            every = torch.arange(lengths.shape[1], device=factors.device).expand_as(lengths)
            vectors = self.vectors[some].to(lengths.dtype)
            if self.scale is not None:
                vectors = vectors * self.scale[some, :, None]
            counts = [every.shape[1]] * len(every)
            return Block(vectors.transpose(0, 1), lengths, factors, counts, every, every, factors)
        counted = (factors > 0).any(dim=0)
        # A stable sort puts the rows that count in front.
        places = (~counted).to(torch.uint8).argsort(dim=1, stable=True)
        rows, counts = (counted.cumsum(dim=1) - 1).clamp_(min=0), counted.sum(dim=1).tolist()
        for slot, count in enumerate(counts):
            self._gather(slot, some.start + places[slot, :count], space[slot, :count])
        lengths, weights = lengths.gather(1, places), factors.gather(2, places.expand_as(factors))
        return Block(space[:, : lengths.shape[1]], lengths, weights, counts, places, rows, factors)

    def _gather(self, slot: int, images: Tensor, out: Tensor) -> None:
        vectors = self.vectors[:, slot]
        if vectors.dtype == out.dtype:  # takes half the time of indexing with brackets
            torch.index_select(vectors, 0, images, out=out)
        else:
            out.copy_(vectors.index_select(0, images))
        if self.scale is not None:
            out.mul_(self.scale[images, slot, None])


def squared_lengths(embeddings: PartEmbeddings, *, dtype: torch.dtype, memory_budget: int) -> Tensor:
    """[N, S] squared lengths of the vectors in a precision, some images at a time.

    Raises:
        ShapeError: a number is not finite, or a squared length does not fit ``dtype``.
    """
    count, slots, width = embeddings.vectors.shape
    result = torch.empty(count, slots, dtype=dtype, device=embeddings.vectors.device)
    step = max(1, memory_budget // (2 * slots * width * dtype.itemsize))
    for some in (slice(start, start + step) for start in range(0, count, step)):
        torch.linalg.vector_norm(embeddings.vectors[some].to(dtype), dim=2, out=result[some])
    result.square_()
    # One comparison finds vectors that are too long, infinite or NaN. Only then it is checked which.
    if not bool((result < torch.finfo(dtype).max / 4).all()):
        embeddings.validate()
        raise ShapeError(
            f"A vector is too long: its squared length does not fit {dtype}. "
            "Normalise the embeddings, or convert them with .to(dtype=torch.float64)."
        )
    return result


def euclidean(
    products: Tensor, vectors: tuple[Tensor, Tensor], lengths: tuple[Tensor, Tensor], *, memory: int
) -> Tensor:
    """Replace products -2ab by the distances [Q, G] of vectors a [Q, D] and b [G, D] with these squared lengths.

    Near-duplicates are computed again, about ``memory`` numbers at once.
    """
    if not products.numel():
        return products
    squared = products.add_(lengths[1]).add_(lengths[0][:, None])
    # The minimum of each row takes one pass, and tells which rows to search.
    least = squared.amin(dim=1).sub_(lengths[0], alpha=_RECOMPUTE_BELOW)
    limit = lengths[1].max() * _RECOMPUTE_BELOW
    distances = squared.sqrt_()  # NaN: rounding made a square negative, which only happens to near-duplicates
    if bool(least.min() <= limit):
        _compute_again(distances, vectors, lengths, (least <= limit).nonzero()[:, 0], memory)
    return distances


def _compute_again(
    distances: Tensor, vectors: tuple[Tensor, Tensor], lengths: tuple[Tensor, Tensor], rows: Tensor, memory: int
) -> None:
    """Replace the distances of near-duplicates by exact ones. Only these ``rows`` contain any."""
    a, b = vectors
    height, step = max(1, memory // (16 * len(b))), max(1, memory // (8 * a.shape[1]))
    for top in range(0, len(rows), height):
        some = rows[top : top + height]
        near = (lengths[0][some, None] + lengths[1]).mul_(_RECOMPUTE_BELOW).sqrt_()
        which, columns = (~(distances[some] > near)).nonzero(as_tuple=True)
        for start in range(0, len(which), step):
            i, j = some[which[start : start + step]], columns[start : start + step]
            distances[i, j] = torch.linalg.vector_norm(a[i] - b[j], dim=1)


def even_slices(count: int, largest: int) -> list[slice]:
    """Divide ``count`` things into the fewest slices of at most ``largest`` (at least 1), of about equal size."""
    if not count:
        return []
    step = math.ceil(count / math.ceil(count / max(1, largest)))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
