"""Many images of one track merged into one embedding: a part that is hidden in one frame is visible in another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from partreid.errors import DataError, ShapeError
from partreid.functional.merging import SlotSums
from partreid.objects import Guided, guided
from partreid.tracking._track_names import track_key
from partreid.types import PartEmbeddings, check_comparable

Track = TypeVar("Track", bound=Hashable)


class Tracklet(Guided):
    """One track's embedding, updated image by image. Its memory does not grow with the number of images.

    The vector of a slot is the mean of its vectors, weighted by visibility
    (:class:`~partreid.functional.merging.SlotSums`); the slot's visibility is the largest, or 0 if no image shows it.
    docs/tracklets.md compares this rule with others.

    Example:
        >>> import torch
        >>> slots = ("head", "legs")
        >>> track = Tracklet()
        >>> track.add(PartEmbeddings(torch.ones(1, 2, 3), torch.tensor([[1.0, 0.0]]), slots))
        >>> track.add(PartEmbeddings(torch.zeros(1, 2, 3), torch.tensor([[0.0, 1.0]]), slots))
        >>> track.embeddings.vectors[0, :, 0], track.embeddings.visibility
        (tensor([1., 0.]), tensor([[1., 1.]]))
    """

    def __init__(self) -> None:
        self._sums: SlotSums | None = None
        self._like: PartEmbeddings | None = None

    def __repr__(self) -> str:
        return f"Tracklet({len(self)} images)"

    def __len__(self) -> int:
        """Number of images so far."""
        return 0 if self._sums is None else self._sums.count

    def add(self, embeddings: PartEmbeddings) -> None:
        """Add images of the track; the order does not matter.

        Args:
            embeddings: [N, S, D], from the same model as those before.

        Raises:
            ShapeError: slots or width differ from those before, a number is not finite, or a visibility lies outside
                [0, 1]. The track stays as it was.
        """
        if self._like is not None:
            check_comparable(self._like, embeddings)
        embeddings.validate()
        self._like = embeddings[[]]
        if len(embeddings):
            sums = SlotSums.of(embeddings.vectors[:, None], embeddings.visibility[:, None])
            self._sums = sums if self._sums is None else self._sums + sums

    @property
    def embeddings(self) -> PartEmbeddings:
        """[1, S, D], in the type and on the device of the added images.

        Raises:
            ShapeError: no image was added.
        """
        if self._sums is None or self._like is None:
            raise ShapeError("Expected at least one image of the track, got none. Add embeddings first.")
        return self._sums.mean(self._like)


@guided
def merge_tracklet(embeddings: PartEmbeddings) -> PartEmbeddings:
    """Images [N, S, D] of one track as one [1, S, D]; how is told at :class:`Tracklet`.

    Raises:
        ShapeError: there is no image, or a value is not allowed.

    Example:
        >>> import torch
        >>> e = PartEmbeddings(torch.tensor([[[2.0]], [[8.0]]]), torch.tensor([[1.0], [0.5]]), ("head",))
        >>> merge_tracklet(e).vectors
        tensor([[[4.]]])
    """
    track = Tracklet()
    track.add(embeddings)
    return track.embeddings


@guided
def merge_tracklets(embeddings: PartEmbeddings, tracks: Sequence[Track]) -> tuple[PartEmbeddings, list[Track]]:
    """Images of several tracks as one row per track; how is told at :class:`Tracklet`.

    Args:
        embeddings: [N, S, D]. tracks: N, the track of each image: numbers, names, (camera, number), ... What is one
            track, and what is none, is told at :func:`~partreid.tracking._track_names.track_key`: 1, 1.0 and "1" are
            one.

    Returns:
        [T, S, D] and the T tracks as they came first, in the order of their first images.

    Raises:
        ShapeError: the tracks are no list or not as many as the images, there is none, or a value is not allowed.
        DataError: an image belongs to no track: -1, None, NaN.
        TypeError: a track is of a type that no dictionary takes, such as a list.

    Example:
        >>> import torch
        >>> e = PartEmbeddings(torch.arange(3.0)[:, None, None], torch.ones(3, 1), ("head",))
        >>> merged, tracks = merge_tracklets(e, ["b", "a", "b"])
        >>> merged.vectors.flatten(), tracks
        (tensor([1., 1.]), ['b', 'a'])
    """
    if isinstance(tracks, set | frozenset | Mapping | str | bytes) or not hasattr(tracks, "__len__"):
        raise ShapeError(f"Expected a list of tracks, one per image in their order, got {type(tracks).__name__}.")
    if len(tracks) != len(embeddings):
        raise ShapeError(f"Expected {len(embeddings)} tracks, one per image, got {len(tracks)}.")
    names, images = list(tracks), dict[Hashable, list[int]]()
    for number, track in enumerate(names):
        key = track_key(track)
        if key is None:
            raise DataError(
                f"Image {number} belongs to no track: {track!r:.80} is no track's name. Leave such images out, "
                "because they may show different persons: embeddings[rows]."
            )
        images.setdefault(key, []).append(number)
    merged = PartEmbeddings.cat(merge_tracklet(embeddings[rows]) for rows in images.values())
    return merged, [names[rows[0]] for rows in images.values()]
