"""The losses of the paper: identity, triplets, part attention (Eq. 2, 6, 7, 8)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.errors import LabelError, ShapeError
from partreid.functional._checks import is_whole, require_float, require_fraction, require_identities, require_number
from partreid.functional.mining import batch_hard, pairwise_distances

IGNORED_LABEL = -100
"""Class of a pixel without a label. The part attention loss ignores it."""


def part_attention_loss(part_logits: Tensor, labels: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Eq. 2: pixel cross-entropy with label smoothing, averaged over pixels and images.

    There are two departures from the text. Its "N is the batch size" is a mistake: N is the number of classes K+1. And
    the mean is taken where Eq. 2 writes a sum.

    Args:
        part_logits: [B, K+1, H, W] before the softmax of Eq. 1.
        labels: [B, H, W] integers in 0..K, 0 = background, or :data:`IGNORED_LABEL`.
        smoothing: ε.

    Raises:
        LabelError: the labels have another size, are no whole numbers, or hold a class beyond K.
        ShapeError: the logits are no such tensor, or ε lies outside [0, 1].

    Example:
        >>> part_attention_loss(torch.zeros(1, 6, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))
        tensor(1.7918)
    """
    require_float(part_logits, "part_logits [B, K+1, H, W]")
    require_fraction("smoothing", smoothing)
    expected = (part_logits.shape[0], *part_logits.shape[2:])
    if tuple(labels.shape) != expected or not is_whole(labels):
        raise LabelError(
            f"Expected labels {expected} of whole numbers for this feature map, got {labels.dtype} "
            f"{tuple(labels.shape)}."
        )
    classes = part_logits.shape[1]
    labels = labels.long()
    counted = labels != IGNORED_LABEL
    # Checked on a CPU only: on a GPU the check would wait for the device at every step, and CUDA itself refuses.
    if labels.device.type == "cpu" and (wrong := counted & ((labels < 0) | (labels >= classes))).any():
        raise LabelError(
            f"Labels must lie in 0..{classes - 1} for K = {classes - 1} parts, got {int(labels[wrong][0])}: "
            "were they made for another part schema?"
        )
    scores = _at_least_float32(part_logits)
    total = F.cross_entropy(scores, labels, label_smoothing=smoothing, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / counted.sum().clamp(min=1)


def identity_loss(logits: Tensor, pid_index: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with label smoothing over the training identities (Eq. 6, L_CE).

    Args:
        logits: [B, identities], or [B, K, identities] for parts, where the loss is the mean over all B·K.
        pid_index: [B] training classes.
        smoothing: ε.

    Raises:
        ShapeError: the shapes do not fit, a class is not among the identities, or ε lies outside [0, 1].
    """
    require_float(logits, "logits [B, K, identities]" if logits.ndim == 3 else "logits [B, identities]")
    require_fraction("smoothing", smoothing)
    if require_identities("pid_index", pid_index).shape != logits.shape[:1]:
        raise ShapeError(f"Expected pid_index [{len(logits)}], got {tuple(pid_index.shape)}.")
    pid_index, identities = pid_index.long(), logits.shape[-1]
    # On a CPU only, as in part_attention_loss.
    if pid_index.device.type == "cpu" and (pid_index >= identities).any():
        raise ShapeError(f"Training classes must lie in 0..{identities - 1}, got {int(pid_index.max())}.")
    if logits.ndim == 3:
        pid_index = pid_index.unsqueeze(1).expand(-1, logits.shape[1]).reshape(-1)
        logits = logits.flatten(0, 1)
    return F.cross_entropy(_at_least_float32(logits), pid_index, label_smoothing=smoothing)


class TripletLoss(NamedTuple):
    """``loss``: scalar. ``active``: fraction of counted triplets that violate the margin, detached."""

    loss: Tensor
    active: Tensor


def part_averaged_triplet(
    vectors: Tensor, pids: Tensor, *, margin: float = 0.3, visibility: Tensor | None = None
) -> TripletLoss:
    """Eq. 7-8: batch-hard triplet on the mean of the K part distances.

    For a holistic vector, given as [B, 1, D], it is the ordinary triplet loss. Distances are between raw vectors. An
    anchor without a positive or a negative is left out. A batch without any triplet gives 0.

    Args:
        vectors: [B, K, D]. pids: [B] whole numbers of at least 0. margin: α.
        visibility: [B, K] in [0, 1]. The mean is weighted as in Eq. 9, and pairs without a common part are ignored.
            None counts all parts, as the paper does.

    Raises:
        ShapeError: the shapes do not fit, the vectors are no floating-point numbers, an identity is below 0, a
            visibility outside [0, 1], or α negative (values of tensors are checked on a CPU only).

    Example:
        >>> x = torch.zeros(4, 5, 8, requires_grad=True)
        >>> part_averaged_triplet(x, torch.tensor([0, 0, 1, 1])).loss
        tensor(0.3000, grad_fn=<DivBackward0>)
    """
    _check_pids(vectors, pids)
    if visibility is not None and (visibility.shape != vectors.shape[:2] or visibility.is_complex()):
        raise ShapeError(f"Expected visibility {tuple(vectors.shape[:2])}, got {tuple(visibility.shape)}.")
    if visibility is not None and visibility.device.type == "cpu" and not ((visibility >= 0) & (visibility <= 1)).all():
        raise ShapeError("Expected visibilities in [0, 1], got others or NaN.")
    distances = pairwise_distances(vectors)
    if visibility is None:
        return _hinge(distances.mean(dim=0), pids, margin)
    seen = visibility.detach().to(distances).T
    weights = seen.unsqueeze(2) * seen.unsqueeze(1)  # [K, B, B]
    mass = weights.sum(dim=0)
    comparable = mass > 0
    return _hinge((weights * distances).sum(dim=0) / mass.where(comparable, 1), pids, margin, comparable)


def per_part_triplet(vectors: Tensor, pids: Tensor, *, margin: float = 0.3) -> TripletLoss:
    """Table 2, "w/o part-averaged triplet loss": one batch-hard triplet per part, averaged over the parts.

    Shapes as in :func:`part_averaged_triplet`.
    """
    _check_pids(vectors, pids)
    return _hinge(pairwise_distances(vectors), pids, margin)


def _hinge(distances: Tensor, pids: Tensor, margin: float, comparable: Tensor | None = None) -> TripletLoss:
    require_number("margin", margin)
    hard = batch_hard(distances, pids, comparable=comparable)
    # Infinities of ignored anchors must not reach the sum. Indexing by the mask would wait for a GPU.
    violation = (hard.positive - hard.negative + margin).where(hard.valid, 0.0).relu()
    anchors = hard.valid.expand_as(violation).sum().clamp(min=1)
    return TripletLoss(violation.sum() / anchors, (violation.detach() > 0).sum() / anchors)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _check_pids(vectors: Tensor, pids: Tensor) -> None:
    require_float(vectors, "vectors [B, K, D]")
    if not vectors.shape[0] or pids.shape != vectors.shape[:1]:
        raise ShapeError(
            f"Expected vectors [B, K, D] and pids [B], got {tuple(vectors.shape)} and {tuple(pids.shape)}."
        )
