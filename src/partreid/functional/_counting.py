"""A gallery image's place in a ranking, found by counting the images before it instead of sorting.

An image ranks before another if it is nearer, or as near but earlier in the gallery. So no two images share a place. On
a CPU the images of a query are taken from the farthest to the nearest. Images that rank before one also rank before all
farther ones. So once few candidates are left, only these are compared. A good ranking has its positives in front, and
therefore needs little more than one comparison with the whole row.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from partreid.functional._loops import compiled_loops

_SHRINK_BELOW = 0.25  # if more than this fraction is left, copying it costs more than it saves
_COMPARED = 2**24  # distances compared at once on other devices than a CPU


def nearer(distances: Tensor, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The number of gallery images that rank before each of N chosen ones.

    Args:
        distances: [Q, G], no NaN. row: [N] queries, ascending. column: [N] gallery images; those of one query are in
            the order of the ranking.

    Returns:
        [N] int64.
    """
    if distances.device.type != "cpu":
        return _compare(distances, row, column)
    values = (distances.float() if distances.dtype in (torch.bfloat16, torch.float16) else distances).numpy()
    count = np.zeros(len(row), np.int64)
    loops = compiled_loops(len(row) * distances.shape[1])
    if loops is not None:
        loops.count_nearer(values, row, column, count)
        return count
    bounds = np.flatnonzero(np.diff(row, prepend=-1, append=-1)).tolist()
    for start, stop in pairwise(bounds):
        _count(values[row[start]], column[start:stop], count[start:stop])
    return count


def _compare(distances: Tensor, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The counts on another device: each image is compared with its whole row."""
    counts = [np.zeros(0, np.int64)]
    step = max(1, _COMPARED // max(1, distances.shape[1]))
    places = torch.arange(distances.shape[1], device=distances.device)
    for some in (slice(start, start + step) for start in range(0, len(row), step)):
        i, j = (torch.from_numpy(x[some]).to(distances.device) for x in (row, column))
        those, limit = distances[i], distances[i, j][:, None]
        before = (those < limit) | ((those == limit) & (places < j[:, None]))
        counts.append(before.sum(dim=1).cpu().numpy())
    return np.concatenate(counts)


def _count(seen: np.ndarray, columns: np.ndarray, count: np.ndarray) -> None:
    """Fill in the counts of one query's ``columns``, which are in the order of the ranking."""
    before = np.empty(len(seen), bool)
    left: np.ndarray | None = None  # the columns in ``seen``; None = all
    for k in range(len(columns) - 1, -1, -1):
        at = int(columns[k] if left is None else np.searchsorted(left, columns[k]))
        limit, now = seen[at], before[: len(seen)]
        np.less_equal(seen[:at], limit, out=now[:at])
        np.less(seen[at:], limit, out=now[at:])
        count[k] = np.count_nonzero(now)
        if count[k] < _SHRINK_BELOW * len(seen):
            kept = np.flatnonzero(now)
            seen, left = seen[kept], kept if left is None else left[kept]
