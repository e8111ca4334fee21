"""Embeddings. Frozen, validated, device-agnostic.

Shapes: B images, S slots (foreground + parts), D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from partreid.errors import ShapeError, WrongTypeError, nearest
from partreid.lazy import is_tensor, torch
from partreid.objects import Guided
from partreid.types.numbers import as_floating, chosen
from partreid.types.slot_weights import checked_weights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class PartEmbeddings(Guided):
    """One vector per image and slot, with the slot's visibility. Matching compares these (Eq. 9).

    The vectors are not normalised, because the visibility threshold and normalisation are choices of matching. Arrays
    and lists work for both tensors; a writable array is shared, not copied. Compare two with
    :func:`~partreid.functional.distance.part_distances`; ``==`` asks whether they are one object.

    Attributes:
        vectors: [B, S, D] floating point.
        visibility: [B, S] floating point in [0, 1]; 0 = the slot is hidden and is never compared. By default all slots
            are visible.
        slots: S different names, for example ``("foreground", "head", "torso")``; by default ``slot_0``, ``slot_1``,
            ...
        model: fingerprint of the extractor that made them, "" = unknown. Embeddings of two models are never compared.
        compare_normalized: whether their model was made for vectors that are divided by their length before comparison.
            It is the default of every comparison. None = unknown, which counts as no, as in the paper.
        compare_weights: the weights of slots for which their model was made, by name, in 0.0001..10000, and 1 for slots
            that are not named. They are the default of every comparison. Empty = all slots count the same, or unknown.

    Raises:
        ShapeError: the shapes do not fit together, or a weight has no such slot or is out of range. :meth:`validate`
            checks the values.

    Example:
        >>> e = PartEmbeddings(torch.randn(4, 2, 8), torch.ones(4, 2), ("foreground", "head"))
        >>> len(e[1:3]), e["head"].shape
        (2, torch.Size([4, 1, 8]))
    """

    vectors: Tensor
    visibility: Tensor = None  # type: ignore[assignment]
    slots: tuple[str, ...] = None  # type: ignore[assignment]
    model: str = ""
    compare_normalized: bool | None = None
    compare_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", as_floating("vectors", self.vectors))
        if self.vectors.ndim != 3:
            advice = " Of one vector per image, [B, D], take vectors[:, None]." if self.vectors.ndim == 2 else ""
            raise ShapeError(f"vectors must be [B, S, D], got shape {tuple(self.vectors.shape)}.{advice}")
        seen = self.vectors.new_ones(self.vectors.shape[:2]) if self.visibility is None else self.visibility
        object.__setattr__(self, "visibility", as_floating("visibility", seen))
        if self.slots is None:
            object.__setattr__(self, "slots", tuple(f"slot_{number}" for number in range(self.vectors.shape[1])))
        slots = (self.slots,) if isinstance(self.slots, str) else tuple(self.slots)  # a text is no list of its letters
        if not all(isinstance(slot, str) for slot in slots):
            raise ShapeError(f"slots must be the names of the slots, got {slots!r:.80}.")
        object.__setattr__(self, "slots", slots)
        if self.visibility.shape != self.vectors.shape[:2]:
            raise ShapeError(
                f"visibility must be [B, S] = {tuple(self.vectors.shape[:2])}, got {tuple(self.visibility.shape)}."
            )
        if len(self.slots) != self.vectors.shape[1] or len(set(self.slots)) != len(self.slots):
            raise ShapeError(f"Expected {self.vectors.shape[1]} different slot names, got {self.slots}.")
        if not self.vectors.is_floating_point():
            raise ShapeError(f"vectors must be floating point, got {self.vectors.dtype}.")
        if self.visibility.is_complex():
            raise ShapeError(f"visibility must be numbers in [0, 1], got {self.visibility.dtype}.")
        if not isinstance(self.compare_normalized, bool | None):
            raise ShapeError(f"compare_normalized is True, False or None, got {self.compare_normalized!r:.80}.")
        object.__setattr__(self, "compare_weights", checked_weights(self.compare_weights, self.slots))
        if not self.visibility.is_floating_point():
            object.__setattr__(self, "visibility", self.visibility.to(self.vectors.dtype))
        if self.visibility.device != self.vectors.device:
            raise ShapeError(
                f"vectors lie on {self.vectors.device} and visibility on {self.visibility.device}. Move one of them."
            )

    def validate(self) -> Self:
        """Also check the values: every vector must be finite, and every visibility in [0, 1]. Returns itself.

        Raises:
            ShapeError: a value is wrong; the message names the first image and slot.
        """
        wrong = ~_finite(self.vectors) | ~((self.visibility >= 0) & (self.visibility <= 1))
        if wrong.any():
            image, slot = (int(i) for i in wrong.nonzero()[0])
            raise ShapeError(
                f"Image {image}, slot {self.slots[slot]!r}: expected finite numbers and a visibility in [0, 1], "
                f"got visibility {float(self.visibility[image, slot])} and a vector that "
                f"{'is finite' if torch.isfinite(self.vectors[image, slot]).all() else 'holds NaN or infinity'}."
            )
        return self

    def __len__(self) -> int:
        return self.vectors.shape[0]

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(
        self, index: int | np.integer | slice | Sequence[int] | np.ndarray | Tensor | str | Sequence[str]
    ) -> Self:
        """Images by index, slice, list or mask, or slots by name; the result always has three dimensions.

        Raises:
            IndexError: there is no such image. ShapeError: there is no such slot. WrongTypeError: another index.
        """
        if isinstance(index, str):
            return self.select(index)
        if isinstance(index, Sequence) and index and all(isinstance(one, str) for one in index):
            return self.select(*index)
        if isinstance(index, int | np.integer) or (
            (is_tensor(index) or isinstance(index, np.ndarray)) and index.ndim == 0
        ):
            if not -len(self) <= int(index) < len(self):
                raise IndexError(f"image {int(index)} of {len(self)}")
            index = [int(index)]
        if isinstance(index, slice) and index.step is not None and index.step < 0:
            index = range(*index.indices(len(self)))  # tensors know no negative step
        if is_tensor(index) and index.dtype == torch.uint8:
            index = index.long()  # PyTorch takes bytes for a mask; NumPy's are positions
        if not (isinstance(index, slice) or is_tensor(index)):
            positions = np.asarray(index)
            if positions.size and positions.dtype.kind not in "iub":
                raise WrongTypeError(
                    f"Expected images by integers or a mask, or slots by name, got {index!r:.80}. Write e[0], e[2:5], "
                    f"e[{self.slots[0] if self.slots else 'head'!r}], or one after the other."
                )
            index = torch.from_numpy(positions.astype(bool if positions.dtype == bool else np.int64))
        return replace(self, vectors=chosen(self.vectors, index), visibility=chosen(self.visibility, index))

    def __repr__(self) -> str:
        b, s, d = self.vectors.shape
        return f"PartEmbeddings({b} images, {s} slots {self.slots!s:.300}, width {d}, {self.vectors.device})"

    @property
    def width(self) -> int:
        """D, the length of each vector."""
        return self.vectors.shape[2]

    @property
    def shape(self) -> torch.Size:
        """(B, S, D) of the vectors."""
        return self.vectors.shape

    @property
    def device(self) -> torch.device:
        """The device of both tensors."""
        return self.vectors.device

    @property
    def dtype(self) -> torch.dtype:
        """The vectors' type."""
        return self.vectors.dtype

    def cpu(self) -> Self:
        """A copy in main memory."""
        return self.to("cpu")

    def numpy(self) -> np.ndarray:
        """The vectors [B, S, D] as an array, detached from the graph; bfloat16, which NumPy lacks, as float32."""
        vectors = self.vectors.detach().cpu()
        return (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy().astype(dtype or self.numpy().dtype, copy=bool(copy))

    def __matmul__(self, other: object) -> Self:
        raise WrongTypeError(_COMPARED)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise WrongTypeError(f"{function.__name__} of PyTorch takes tensors: embeddings.vectors. {_COMPARED}")

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """A copy on another device or of another floating type."""
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        return replace(
            self,
            vectors=self.vectors.to(device=device, dtype=dtype),
            visibility=self.visibility.to(device=device, dtype=dtype),
        )

    def detach(self) -> Self:
        """The embeddings detached from the graph."""
        return replace(self, vectors=self.vectors.detach(), visibility=self.visibility.detach())

    def select(self, *slots: str) -> Self:
        """Only these slots, in this order.

        Raises:
            ShapeError: there is no such slot; the message names the nearest one.
        """
        if not slots:
            raise ShapeError(f"Expected the name of at least one slot. {nearest('', self.slots)}")
        for slot in slots:
            if slot not in self.slots:
                raise ShapeError(f"No slot {slot!r}. {nearest(slot, self.slots)}")
        index = [self.slots.index(slot) for slot in slots]
        return replace(
            self,
            vectors=self.vectors[:, index],
            visibility=self.visibility[:, index],
            slots=slots,
            compare_weights={slot: weight for slot, weight in self.compare_weights.items() if slot in slots},
        )

    def normalized(self, eps: float = 1e-12) -> Self:
        """Each slot's vector divided by its Euclidean length (at least ``eps``).

        Raises:
            ShapeError: ``eps`` is negative or larger than 1.
        """
        if not 0 <= eps <= 1:
            raise ShapeError(f"eps is a small number of at least 0, got {eps}.")
        return replace(self, vectors=torch.nn.functional.normalize(self.vectors, dim=2, eps=eps))

    @classmethod
    def cat(cls, batches: Iterable[PartEmbeddings]) -> PartEmbeddings:
        """Several batches as one.

        Raises:
            ShapeError: no batch, or their slots, widths or models differ.
        """
        batches = list(batches)
        if not batches:
            raise ShapeError("Expected at least one PartEmbeddings to concatenate, got none.")
        for other in batches[1:]:
            check_comparable(batches[0], other)
        return PartEmbeddings(
            torch.cat([b.vectors for b in batches]),
            torch.cat([b.visibility for b in batches]),
            batches[0].slots,
            batches[0].model if len({b.model for b in batches}) == 1 else "",
            _known_comparison(batches),
            comparison_weights(*batches),
        )


_COMPARED = (
    "Two embeddings are compared slot by slot where both are visible: write partreid.part_distances(a, b); "
    "PartEmbeddings.cat([a, b]) puts their images together."
)


def _finite(vectors: Tensor) -> Tensor:
    """[B, S] bool: whether all numbers of a vector are finite."""
    if not vectors.shape[2]:
        return torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
    # The extremes tell, without a mask as large as the vectors: a tenth of the time. NaN is either extreme.
    return torch.isfinite(vectors.amin(dim=2)) & torch.isfinite(vectors.amax(dim=2))


def check_comparable(a: PartEmbeddings, b: PartEmbeddings) -> None:
    """Check that two batches can be compared.

    Raises:
        ShapeError: their slots, widths or models differ. WrongTypeError: one of them is something else.
    """
    for one in (a, b):
        if not isinstance(one, PartEmbeddings):
            raise WrongTypeError(
                f"Expected PartEmbeddings, got {type(one).__name__}. Embed images with extractor.embed(images), or "
                "write PartEmbeddings(vectors, visibility, slots)."
            )
    if a.slots != b.slots:
        raise ShapeError(f"The slots differ: {a.slots} and {b.slots}. Embed both with the same model.")
    if a.width != b.width:
        raise ShapeError(f"The embedding widths differ: {a.width} and {b.width}. Embed both with the same model.")
    if a.model and b.model and a.model != b.model:
        raise ShapeError(
            f"The embeddings come from different models, {a.model} and {b.model}, and cannot be compared. Embed both "
            "with the same model, image size and mirror choice."
        )
    compares_normalized(a, b)
    comparison_weights(a, b)


def compares_normalized(*batches: PartEmbeddings) -> bool:
    """Whether these embeddings are made for comparison with vectors of length 1; False if none of them knows.

    Raises:
        ShapeError: some are, others are not.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[None], torch.ones(1, 2), ("head", "feet"))
        >>> compares_normalized(e), compares_normalized(e, replace(e, compare_normalized=True))
        (False, True)
    """
    return bool(_known_comparison(batches))


def _known_comparison(batches: Sequence[PartEmbeddings]) -> bool | None:
    known = {batch.compare_normalized for batch in batches} - {None}
    if len(known) > 1:
        raise ShapeError(
            "Some of the embeddings are made to be compared by vectors of length 1, others are not: they come from "
            "different models. Embed all with the same model."
        )
    return known.pop() if known else None


def comparison_weights(*batches: PartEmbeddings) -> dict[str, float]:
    """The weights of slots for which these embeddings are made; empty if none of them has any.

    Raises:
        ShapeError: some are made for other weights than others.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[None], torch.ones(1, 2), ("head", "feet"))
        >>> comparison_weights(e, replace(e, compare_weights={"head": 3}))
        {'head': 3.0}
    """
    known = [dict(batch.compare_weights) for batch in batches if batch.compare_weights]
    for weights in known[1:]:
        if weights != known[0]:
            raise ShapeError(
                f"Some of the embeddings are made to be compared with the weights {known[0]}, others with {weights}: "
                "they come from different models. Embed all with the same model."
            )
    return known[0] if known else {}
