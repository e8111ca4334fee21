"""A tracker's memories in a file, to continue after a restart."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from partreid.errors import DataError, PartReIDError, WrongTypeError
from partreid.files import atomic_file, nameable
from partreid.functional.merging import SlotSums
from partreid.json_files import parse_json
from partreid.objects import guided
from partreid.tracking.memory import AppearanceMemory, Sight
from partreid.types import PartEmbeddings, check_comparable

_FORMAT, _VERSION = "partreid-memories", 1


@dataclass(frozen=True)
class _Track:
    """A track's entry in the file's header. The names of its tensors begin with its number."""

    name: str
    momentum: float
    window: int | None
    forget_after: float | None
    time: float
    counts: tuple[int, ...]  # of the sums, then of each detection in the window
    count: int
    times: tuple[float, ...]  # of each detection in the window


@guided
def save_memories(path: str | Path, memories: Mapping[str, AppearanceMemory]) -> Path:
    """Write the memories of tracks by their names, completely or not at all. The same memories give the same bytes.

    Args:
        path: a safetensors file. memories: of one model; empty memories are kept too.

    Raises:
        DataError: the file cannot be written, or a name is not text. ShapeError: they are of several models.
        WrongTypeError: it is not a mapping of names to memories.
    """
    if not isinstance(memories, Mapping) or not all(isinstance(one, AppearanceMemory) for one in memories.values()):
        raise WrongTypeError(f"Expected memories by their tracks' names, got {memories!r:.80}.")
    if any(not isinstance(name, str) for name in memories):
        raise DataError(f"Expected tracks by their names, got {[*memories][:3]!r:.80}. Write str(track).")
    likes = [memory._like for memory in memories.values() if memory._like is not None]
    for other in likes[1:]:
        check_comparable(likes[0], other)
    tensors: dict[str, Tensor] = {}
    tracks = []
    for number, (name, memory) in enumerate(memories.items()):
        held = [] if memory._sums is None else [memory._sums, *(sight.sums for sight in memory._sights)]
        for field in ("weighted", "plain", "weight", "visibility") if held else ():
            tensors[f"{number}.{field}"] = torch.stack([getattr(sums, field) for sums in held]).cpu()
        if memory._seen is not None:
            seen = [memory._seen, *(sight.weight for sight in memory._sights)]
            tensors[f"{number}.seen"] = torch.stack(seen).cpu()
        counts = tuple(sums.count for sums in held)
        times = tuple(sight.time for sight in memory._sights)
        options = (memory.momentum, memory.window, memory.forget_after)
        tracks.append(vars(_Track(name, *options, memory._time if held else 0.0, counts, memory._count, times)))
    like = likes[0] if likes else None
    header = {"format": _FORMAT, "version": _VERSION, "tracks": tracks, "like": None if like is None else _said(like)}
    header["sha256"] = _digest(header, tensors)
    with atomic_file(nameable(path, error=DataError), error=DataError) as temporary:
        save_file(tensors, temporary, metadata={_FORMAT: json.dumps(header)})
    return Path(path)


@guided
def load_memories(path: str | Path) -> dict[str, AppearanceMemory]:
    """Memories that :func:`save_memories` wrote, by their tracks' names, on the CPU, ready to continue.

    Raises:
        DataError: there is no such file, or it is damaged or of another kind or version.
    """
    source = nameable(path, error=DataError)
    if not source.is_file():
        raise DataError(f"There is no file of memories {source}.")
    try:
        with safe_open(source, framework="pt") as file:
            header: dict[str, Any] = parse_json(
                (file.metadata() or {}).get(_FORMAT, "{}"), source=str(source), error=DataError
            )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise DataError(f"{source} is no file of memories, or is damaged: {error}") from None
    kind = (header.get("format"), header.get("version"))
    if kind != (_FORMAT, _VERSION):
        raise DataError(f"{source}: expected {_FORMAT} of version {_VERSION}, got {kind}.")
    if header.pop("sha256", None) != _digest(header, tensors):
        raise DataError(f"{source} is damaged: its checksum does not fit.")
    try:
        like = None if header["like"] is None else _embeddings(header["like"])
        return {
            track["name"]: _memory(_Track(**track), number, tensors, like)
            for number, track in enumerate(header["tracks"])
        }
    except (KeyError, TypeError, ValueError, PartReIDError) as error:
        raise DataError(f"{source} is damaged or inconsistent: {error}") from None


def _memory(track: _Track, number: int, tensors: Mapping[str, Tensor], like: PartEmbeddings | None) -> AppearanceMemory:
    memory = AppearanceMemory(momentum=track.momentum, window=track.window, forget_after=track.forget_after)
    if not track.counts:
        return memory
    weighted, plain, weight, visibility = (
        tensors[f"{number}.{field}"] for field in ("weighted", "plain", "weight", "visibility")
    )
    held = [
        SlotSums(weighted[place], plain[place], weight[place], visibility[place], count)
        for place, count in enumerate(track.counts)
    ]
    seen = tensors[f"{number}.seen"]
    memory._sums, memory._seen, memory._like = held[0], seen[0], like
    memory._sights = deque(map(Sight, held[1:], seen[1:], track.times), maxlen=track.window)
    memory._time, memory._count = track.time, track.count
    return memory


def _said(like: PartEmbeddings) -> dict[str, Any]:
    return {
        "slots": list(like.slots),
        "width": like.width,
        "dtypes": [str(tensor.dtype).removeprefix("torch.") for tensor in (like.vectors, like.visibility)],
        "model": like.model,
        "compare_normalized": like.compare_normalized,
        "compare_weights": dict(like.compare_weights),
    }


def _embeddings(said: Mapping[str, Any]) -> PartEmbeddings:
    """[0, S, D] of these slots and types."""
    vectors, visibility = (getattr(torch, name) for name in said["dtypes"])
    slots = tuple(said["slots"])
    return PartEmbeddings(
        torch.empty(0, len(slots), said["width"], dtype=vectors),
        torch.empty(0, len(slots), dtype=visibility),
        slots,
        said["model"],
        said["compare_normalized"],
        said["compare_weights"],
    )


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
