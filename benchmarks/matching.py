"""What evaluation costs: over the matrix products it cannot do without, over the usual way, and in memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import Figure, compare, cpu_seconds
from partreid.evaluation.evaluator import evaluate_embeddings
from partreid.functional import _loops as loops
from partreid.functional.ranking import evaluate_ranking
from partreid.types import EvaluationResult, PartEmbeddings

TITLE = "Evaluation (Eq. 9 distances, CMC, AP, INP), 512 wide, 70 % of the slots visible"
LIMIT = 1.3
MEGABYTES = 500
SLOTS, WIDTH, SEEN = 9, 512, 0.7
QUERIES, GALLERY = 2000, 8000
PERSONS, CAMERAS = 750, 6
SMALL = 400, 2000  # for the usual way, which holds [S, Q, G]

Problem = tuple[PartEmbeddings, PartEmbeddings, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """At one size; how cost grows from it; the usual way; memory."""
    problem = made_up(QUERIES, GALLERY)
    name = f"{QUERIES:,} × {GALLERY:,}, {SLOTS} slots"
    yield over_products(f"evaluation over the float32 products of the visible rows, {name}", problem, rounds)
    with patch.object(loops, "_WORTH_COMPILING", sys.maxsize):
        yield over_products(f"the same without numba, {name}", problem, min(rounds, 3))
    with patch.object(loops, "_WORTH_COMPILING", 0):
        yield from growth(problem)
    yield from usual_way(rounds)
    yield memory(name, QUERIES, GALLERY)


def over_products(name: str, problem: Problem, rounds: int) -> Figure:
    """The whole evaluation over its matrix products alone."""
    products = visible_products(*problem[:2])
    return compare(name, lambda: evaluate_embeddings(*problem), products, rounds=rounds, limit=LIMIT)


def growth(problem: Problem) -> Iterator[Figure]:
    """Half of the queries, the gallery, the slots: what is left of the cost, and of the products."""
    query, gallery, query_ids, gallery_ids = problem
    names = query.slots[: (SLOTS + 1) // 2]
    whole = seconds(lambda: evaluate_embeddings(*problem))
    for name, part in (
        ("queries", (query[: QUERIES // 2], gallery, half(query_ids), gallery_ids)),
        ("gallery", (query, gallery[: GALLERY // 2], query_ids, half(gallery_ids))),
        (f"slots ({len(names)} of {SLOTS})", (query.select(*names), gallery.select(*names), query_ids, gallery_ids)),
    ):
        mine = seconds(lambda part=part: evaluate_embeddings(*part))  # type: ignore[misc]
        theirs = seconds(visible_products(*part[:2]))
        yield Figure(
            f"half the {name}: share of the cost", mine / whole, "×", detail=f"{mine / theirs:.2f} × its products"
        )


def usual_way(rounds: int) -> Iterator[Figure]:
    """Against [S, Q, G] distances and a sorted gallery for each query, as reference implementations compute."""
    problem = made_up(*SMALL)
    mine, theirs = evaluate_embeddings(*problem), straightforward(*problem)
    assert np.allclose(mine.average_precision, theirs.average_precision, equal_nan=True)
    size = f"{SMALL[0]:,} × {SMALL[1]:,}"
    yield compare(
        f"evaluation over [S, Q, G] distances and sorting, {size}",
        lambda: evaluate_embeddings(*problem),
        lambda: straightforward(*problem),
        rounds=rounds,
    )
    distances, ids = torch.rand(1000, GALLERY), made_up_ids(1000, GALLERY)
    flat = ids[0][0], ids[1][0], ids[0][1], ids[1][1]
    yield compare(
        f"counting over sorting, random distances 1,000 × {GALLERY:,}",
        lambda: evaluate_ranking(distances, *flat),
        lambda: sorted_scores(distances, *flat),
        rounds=min(rounds, 2),
    )


def memory(name: str, queries: int, gallery: int, *, half_precision: bool = False) -> Figure:
    """Peak memory of an evaluation beside the embeddings, in a process of its own (Linux)."""
    command = f"from benchmarks.matching import report_peak; report_peak({queries}, {gallery}, {half_precision})"
    answer = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    megabytes, taken, products = map(float, answer.split())
    detail = f"{taken:.1f} s of CPU, {taken / products:.2f} × the products" if products else f"{taken:.1f} s of CPU"
    return Figure(f"peak memory beside the embeddings, {name}", megabytes, "MB", limit=MEGABYTES, detail=detail)


def report_peak(queries: int, gallery: int, half_precision: bool) -> None:
    """Evaluate, then print the megabytes that the peak grew by, the CPU seconds, and those of the products."""
    evaluate_embeddings(*made_up(QUERIES, GALLERY))  # libraries and compiled loops are loaded once, and not counted
    problem = made_up(queries, gallery, dtype=torch.float16 if half_precision else torch.float32)
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    taken = cpu_seconds(lambda: evaluate_embeddings(*problem))
    growth = resident("VmHWM") - before
    print(growth, taken, 0 if half_precision else cpu_seconds(visible_products(*problem[:2])))


def resident(field: str) -> float:
    """Memory of this process in megabytes: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(field)).split()[1]) * 1024 / 1e6


def made_up(queries: int, gallery: int, *, dtype: torch.dtype = torch.float32) -> Problem:
    """Embeddings of noisy persons that a model of about 80 % mAP might give; visibilities fall independently."""
    shared = torch.Generator().manual_seed(0)
    centres = torch.randn(PERSONS, SLOTS, WIDTH, generator=shared)
    ids = made_up_ids(queries, gallery)
    sides = []
    for seed, (pids, _) in enumerate(ids):
        generator = torch.Generator().manual_seed(seed + 1)
        vectors = torch.empty(len(pids), SLOTS, WIDTH, dtype=dtype)
        for start in range(0, len(pids), 2000):
            some = slice(start, start + 2000)
            noise = torch.randn(vectors[some].shape, generator=generator)
            vectors[some] = noise.mul_(2.5).add_(centres[pids[some]])
        visibility = (torch.rand(len(pids), SLOTS, generator=generator) < SEEN).to(dtype)
        sides.append(PartEmbeddings(vectors, visibility, tuple(f"slot{s}" for s in range(SLOTS))))
    return sides[0], sides[1], *ids


def made_up_ids(queries: int, gallery: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Persons and cameras of both sides."""
    generator = torch.Generator().manual_seed(9)
    return tuple(  # type: ignore[return-value]
        (torch.arange(n) % PERSONS, torch.randint(0, CAMERAS, (n,), generator=generator)) for n in (queries, gallery)
    )


def visible_products(query: PartEmbeddings, gallery: PartEmbeddings) -> Callable[[], None]:
    """The matrix products of each slot's visible rows, which were gathered before, in blocks into the same memory."""
    pairs = [
        (query.vectors[query.visibility[:, s] > 0, s], gallery.vectors[gallery.visibility[:, s] > 0, s])
        for s in range(len(query.slots))
    ]
    block = 2048
    space = torch.empty(len(query) * block)

    def multiply() -> None:
        for a, b in pairs:
            for some in b.split(block):
                torch.mm(a, some.T, out=space[: len(a) * len(some)].view(len(a), len(some)))

    return multiply


def straightforward(
    query: PartEmbeddings, gallery: PartEmbeddings, query_ids: tuple[Tensor, Tensor], gallery_ids: tuple[Tensor, Tensor]
) -> EvaluationResult:
    """Eq. 9 as it is written, then sorting."""
    q, g = query.vectors.transpose(0, 1), gallery.vectors.transpose(0, 1)
    squared = q.square().sum(2)[:, :, None] + g.square().sum(2)[:, None] - 2 * torch.matmul(q, g.transpose(1, 2))
    distances = squared.clamp(min=1e-12).sqrt()
    weights = query.visibility.T[:, :, None] * gallery.visibility.T[:, None]
    mean = ((distances * weights).sum(0) / weights.sum(0)).nan_to_num(nan=torch.inf)
    return sorted_scores(mean, query_ids[0], gallery_ids[0], query_ids[1], gallery_ids[1])


def sorted_scores(
    distances: Tensor, q_pids: Tensor, g_pids: Tensor, q_cams: Tensor, g_cams: Tensor
) -> EvaluationResult:
    """CMC, AP and INP query by query from the sorted gallery."""
    aps, inps, firsts = [], [], []
    for row, pid, cam in zip(torch.argsort(distances, dim=1, stable=True), q_pids, q_cams, strict=True):
        same = g_pids[row] == pid
        hits = same[~(same & (g_cams[row] == cam))].nonzero()[:, 0].double() + 1
        aps.append(float((torch.arange(1, len(hits) + 1) / hits).mean()))
        inps.append(len(hits) / float(hits[-1]) if len(hits) else np.nan)
        firsts.append(int(hits[0]) if len(hits) else 0)
    cmc = np.array([np.mean([0 < first <= k for first in firsts if first]) for k in range(1, 51)])
    scores = np.array(aps), np.array(inps)
    means = (float(np.nanmean(score)) for score in scores)
    counted = sum(first > 0 for first in firsts)
    return EvaluationResult(cmc, *means, *scores, counted, len(firsts) - counted, len(g_pids), "sorted")


def half(ids: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The first half of some ids."""
    return ids[0][: len(ids[0]) // 2], ids[1][: len(ids[1]) // 2]


def seconds(call: Callable[[], object]) -> float:
    """Median CPU seconds of three calls."""
    return median(cpu_seconds(call) for _ in range(3))
