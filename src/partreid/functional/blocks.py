"""[Q, G] distances in blocks, over the rows that count alone.

Two matrices of visible rows are multiplied for each slot and block. What remains, |a|² + |b|² - 2ab, root, weight and
sum, takes PyTorch a pass over memory each; numba, where it is installed (extra ``search``), does it in one pass. Both
give the same but for rounding.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import torch
from torch import Tensor

from partreid.functional.euclidean import euclidean
from partreid.functional.loops import compiled_loops, even_slices
from partreid.functional.sides import Block, Side

_PER_SLOT = 4  # numbers kept all the time for an image's slot: length, factor, scale, and what is on the way to them
_BUFFERS = 4  # arrays of a block's size: sums, products, what is spread over columns, what computing again needs
_LARGEST = (1024, 2048)  # queries and gallery images of a block on a CPU: large, as matrix products need it
_WORTH_GATHERING = 64  # queries; with fewer, gathering a gallery's rows costs more than multiplying all of them


class DistanceRows:
    """Rows of the weighted mean distances of queries to a gallery (Eq. 9), some queries at a time.

    :func:`partreid.functional.distance.distance_rows` makes one.

    Args:
        query, gallery: the two sides. memory_budget: bytes to work in, beside what is written.

    Example:
        >>> from partreid.types import PartEmbeddings
        >>> e = PartEmbeddings(torch.eye(2)[:, None], torch.ones(2, 1), ("foreground",))
        >>> side = Side.of(e, e.visibility, normalize=False, memory_budget=1000)
        >>> rows = DistanceRows(side, side, memory_budget=1000)
        >>> rows.write(slice(0, 1), rows.room(1))
        tensor([[0.0000, 1.4142]])
    """

    def __init__(self, query: Side, gallery: Side, *, memory_budget: int) -> None:
        self._query, self._gallery = query, gallery
        self._on_cpu = query.vectors.device.type == "cpu"
        self._slots, self._width = query.vectors.shape[1:]
        self._loops: ModuleType | None = None
        if self._on_cpu and self.dtype == torch.float32:
            self._loops = compiled_loops(len(query) * len(gallery) * self._slots)
        hidden = not bool((query.factors > 0).all() and (gallery.factors > 0).all())
        self._gather = self._loops is not None or (self._on_cpu and hidden and len(query) >= _WORTH_GATHERING)
        kept = _PER_SLOT * self._slots * (len(query) + len(gallery))
        self._memory = max(1, memory_budget // self.dtype.itemsize - kept)
        self._height, self._breadth = self._sides()

    @property
    def dtype(self) -> torch.dtype:
        """Of the distances."""
        return self._gallery.lengths.dtype

    def blocks(self, *, beside: int = 0) -> list[slice]:
        """The queries in as many at a time as keep within the memory budget: the more, the faster.

        Args:
            beside: bytes that the caller needs for each query at once.
        """
        image = self._slots * self._width
        left = self._memory * 7 // 8 - _BUFFERS * self._height * self._breadth - image * self._breadth
        return even_slices(len(self._query), left // (image + beside // self.dtype.itemsize))

    @torch.no_grad()
    def whole(self) -> Tensor:
        """All distances, [Q, G]."""
        result = torch.empty(len(self._query), len(self._gallery), dtype=self.dtype, device=self._query.vectors.device)
        for some in self.blocks():
            self.write(some, result[some])
        return result

    def room(self, queries: int) -> Tensor:
        """An empty [queries, G] to write into."""
        return self._gallery.lengths.new_empty(queries, len(self._gallery))

    @torch.no_grad()
    def write(self, some: slice, out: Tensor) -> Tensor:
        """Distances of some queries to the whole gallery.

        Args:
            some: from which query to which, of :meth:`blocks`.
            out: [q, G] to write into.

        Returns:
            ``out``.
        """
        work = out.new_empty(_BUFFERS, self._height * self._breadth)
        space = self._space(self._breadth)
        parts = even_slices(len(out), self._height)
        queries = []
        for part in parts:
            images = slice(some.start + part.start, some.start + part.stop)
            queries.append(self._query.block(images, self._space(part.stop - part.start)))
        for columns in even_slices(len(self._gallery), self._breadth):
            gallery = self._gallery.block(columns, space)
            for part, query in zip(parts, queries, strict=True):
                self._write_block(query, gallery, work, out[part, columns])
        return out

    def _write_block(self, query: Block, gallery: Block, work: Tensor, out: Tensor) -> None:
        """Weighted mean distances of two blocks."""
        total, other = (_shaped(flat, len(out), out.shape[1]) for flat in work[:2])
        total.zero_()
        for s in range(self._slots):
            a, b = (block.vectors[s, : block.counts[s]] for block in (query, gallery))
            products = _shaped(work[2], len(a), len(b))
            torch.addmm(products, a, b.T, beta=0, alpha=-2, out=products)
            if self._loops is None:
                self._add(products, (query, gallery), s, total, other)
            else:
                self._add_compiled(products, (query, gallery), s, total)
        weight = torch.mm(query.factors.T, gallery.factors, out=other)
        if self._loops is None:
            # 0 / 0 = NaN where no slot is compared.
            out.copy_(total.div_(weight).nan_to_num_(nan=torch.inf, posinf=torch.inf))
        else:
            self._loops.divide(total.numpy(), weight.numpy(), out.numpy())

    def _add(self, products: Tensor, blocks: tuple[Block, Block], slot: int, total: Tensor, spread: Tensor) -> None:
        """Add one slot's weighted distances, made of its products, to the sums."""
        (height, breadth), (query, gallery) = products.shape, blocks
        vectors = query.vectors[slot, :height], gallery.vectors[slot, :breadth]
        lengths = query.lengths[slot, :height], gallery.lengths[slot, :breadth]
        distance = euclidean(products, vectors, lengths, memory=self._memory // 8)
        if not distance.numel():
            return
        if breadth < total.shape[1]:
            distance = torch.index_select(distance, 1, gallery.rows[slot], out=spread[:height])
        distance.mul_(gallery.factors[slot]).mul_(query.weights[slot, :height, None])
        if height < len(total):
            total.index_add_(0, query.places[slot, :height], distance)
        else:
            total.add_(distance)

    def _add_compiled(self, products: Tensor, blocks: tuple[Block, Block], slot: int, total: Tensor) -> None:
        """The same by one compiled loop, in as many threads as PyTorch has."""
        assert self._loops is not None
        add, sums = self._loops.add_distances, total.numpy()
        arrays = products.numpy(), *(block.slot(slot) for block in blocks)
        if torch.get_num_threads() == 1:
            add(*arrays, (0, len(sums)), sums)
            return
        shares = even_slices(len(sums), math.ceil(len(sums) / torch.get_num_threads()))
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(lambda some: add(*arrays, (some.start, some.stop), sums), shares))

    def _space(self, images: int) -> Tensor | None:
        """Room to gather the rows of so many images, if they are gathered."""
        shape = self._slots, images, self._width
        return self._gallery.lengths.new_empty(shape) if self._gather else None

    def _sides(self) -> tuple[int, int]:
        """Queries and gallery images of a block that takes at most half the memory (at least 1×1)."""
        # A square block reads each vector the fewest times: solve buffers·n² + 3·image·n = memory for n.
        memory, image = self._memory // 2, self._slots * self._width
        side = int((math.sqrt(9 * image**2 + 4 * _BUFFERS * memory) - 3 * image) / (2 * _BUFFERS))
        tallest, broadest = _LARGEST if self._on_cpu else (side, len(self._gallery))
        height = max(1, min(len(self._query), side, tallest))
        breadth = (memory - 2 * image * height) // (_BUFFERS * height + image)
        return height, max(1, min(len(self._gallery), breadth, broadest))


def _shaped(flat: Tensor, height: int, breadth: int) -> Tensor:
    return flat[: height * breadth].view(height, breadth)
