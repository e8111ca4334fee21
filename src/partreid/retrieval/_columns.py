"""Conversion of a gallery's inputs and outputs: columns of items, embeddings to store, cameras in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias

from partreid.errors import DataError, ShapeError, WrongTypeError
from partreid.lazy import torch
from partreid.models.shipped import named_model
from partreid.objects import brief
from partreid.retrieval.filters import is_several
from partreid.retrieval.stores.base import GalleryStore
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryItem, Time, as_text, id_text, is_unknown
from partreid.types.numbers import in_order

if TYPE_CHECKING:
    from partreid.inference.extractor import PartExtractor
    from partreid.inference.inputs import ImagesLike

Query: TypeAlias = "PartEmbeddings | ImagesLike"
"""Embeddings, or images for the gallery's extractor."""


def embeddings_of(
    query: Query, embedder: Callable[[], PartExtractor], items: Sequence[GalleryItem] | None = None
) -> PartEmbeddings:
    """Return embeddings unchanged, and embed images with the extractor that ``embedder`` returns.

    An adapted extractor takes the images' cameras from their items. Anything else raises a WrongTypeError.
    """
    if isinstance(query, PartEmbeddings):
        return query
    if query is None or "float" in str(getattr(query, "dtype", "")):
        raise WrongTypeError(
            f"Expected PartEmbeddings or images, got {brief(query)}. Write PartEmbeddings(vectors, visibility, slots), "
            "or extractor.embed(images)."
        )
    extractor = embedder()
    adapted = items is not None and extractor.adaptation is not None
    return extractor.embed(query, cameras=[item.camera for item in items or ()] if adapted else None)


def shipped_extractor(store: GalleryStore) -> PartExtractor:
    """The extractor of the model inside the package. DataError if another model made the gallery."""
    from partreid.inference.extractor import PartExtractor

    shipped, header = PartExtractor.from_pretrained(), store.header()
    if header is not None and header.model != shipped.fingerprint:
        made = named_model(header.model) if header.model else "unknown"
        raise DataError(
            f"The gallery in {store.location} was made by another model ({made}) than the one inside the package, "
            f"{named_model(shipped.fingerprint)}. Give the gallery's own model for images: "
            "Gallery(location, extractor=extractor). Or give embeddings: extractor.embed(images)."
        )
    return shipped


def check_once(items: Iterable[GalleryItem]) -> None:
    """Raise a DataError if an id is given more than once."""
    twice = sorted(name for name, count in Counter(item.id for item in items).items() if count > 1)
    if twice:
        raise DataError(f"Each id may be given once; given more often: {', '.join(map(repr, twice[:5]))}.")


def items_of(
    ids: Iterable[str | int],
    cameras: Sequence[str | int | None] | str | int | None,
    times: Sequence[Time | None] | Time | None,
    metadata: Sequence[Mapping[str, Any] | None] | None,
) -> list[GalleryItem]:
    """The items that columns describe: arguments and errors as of :meth:`partreid.retrieval.Gallery.add`."""
    if isinstance(ids, str):
        raise ShapeError(f"Expected a list of ids, got the text {ids!r:.80}. Write [{ids!r:.80}].")
    for what, given in (("ids", ids), ("cameras", cameras), ("times", times), ("metadata", metadata)):
        in_order(what, given)
    names: list[Any] = [id_text(name) if isinstance(name, Integral) else name for name in ids]
    columns: list[Sequence[Any]] = []
    for what, values in (("cameras", cameras), ("times", times), ("metadata", metadata)):
        several = is_several(values)
        column = list(values) if several else [values] * len(names)  # type: ignore[arg-type]
        if len(column) != len(names) or (what == "metadata" and not several and values is not None):
            raise ShapeError(f"{what} must hold {len(names)} values, one per id, got {values!r:.80}.")
        columns.append(column)
    return [
        GalleryItem(name, camera, time, {} if is_unknown(data) else data)
        for name, camera, time, data in zip(names, *columns, strict=True)
    ]


def narrowed(embeddings: PartEmbeddings, dtype: torch.dtype) -> PartEmbeddings:
    """On the CPU, with vectors in a smaller type."""
    vectors = embeddings.vectors.to("cpu", dtype)
    if vectors.numel() and not (vectors.amin().isfinite() and vectors.amax().isfinite()):  # quicker than a mask
        raise ShapeError(
            f"The gallery keeps numbers up to {torch.finfo(dtype).max:.0f} (half precision); the largest here is "
            f"{embeddings.vectors.abs().max():.3g}. Scale the embeddings, or normalize them."
        )
    return replace(embeddings, vectors=vectors, visibility=embeddings.visibility.to("cpu", torch.float32))


def by_name(summaries: Iterable[CameraSummary]) -> list[CameraSummary]:
    """Cameras by number, then by name, the unknown one last. Each is listed once, although former versions stored 3.0
    beside 3.
    """
    found: dict[str | None, CameraSummary] = {}
    for one in summaries:
        name = None if is_unknown(one.camera) else as_text(one.camera, "A camera")
        found[name] = replace(one, camera=name) if name not in found else found[name] | one

    def order(summary: CameraSummary) -> tuple[bool, bool, int, str]:
        name = summary.camera or ""
        number = name.isascii() and name.isdecimal()
        return summary.camera is None, not number, int(name) if number else 0, name

    return sorted(found.values(), key=order)
