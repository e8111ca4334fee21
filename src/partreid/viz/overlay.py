"""Attention and labels over an image, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageOps

from partreid.errors import ShapeError
from partreid.parts import HOLISTIC
from partreid.viz.colors import Color, part_colors

Grid = Literal["smooth", "cells", "nodes"]

_STRENGTH = 0.5  # opacity of full attention, so that clothes stay recognisable below it


def check_image(image: np.ndarray) -> np.ndarray:
    """Return the image. ShapeError if it is not uint8 [H, W, 3]."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"An image must be uint8 [H, W, 3], got {image.dtype} {image.shape}.")
    return image


def check_attention(attention: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """Return the maps as float32. ShapeError if they are not [K+1, h, w] with values in [0, 1]."""
    expected = f"[K+1, h, w] = [{len(parts) + 1}, h, w], background first"
    return _maps(attention, len(parts) + 1, "Attention", expected, " Give ModelOutput.attention, not the logits.")


def check_maps(part_maps: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """Return a label's part maps E as float32. ShapeError if they are not [K, h, w] with values in [0, 1]."""
    return _maps(part_maps, len(parts), "Part maps", f"[K, h, w] = [{len(parts)}, h, w]")


def _maps(values: np.ndarray, count: int, name: str, expected: str, hint: str = "") -> np.ndarray:
    maps = np.asarray(values)
    if maps.ndim != 3 or len(maps) != count or not maps.size or maps.dtype.kind not in "fiub":
        raise ShapeError(f"{name} must be {expected}, numbers, got {maps.dtype} {maps.shape}.")
    if not (maps.min() >= -1e-4 and maps.max() <= 1 + 1e-4):
        raise ShapeError(f"{name} must lie in [0, 1], got {maps.min():.3g}..{maps.max():.3g}.{hint}")
    return maps.astype(np.float32)


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image resized to fit, its aspect ratio kept, centred on white: uint8 [height, width, 3]."""
    fitted = Image.fromarray(check_image(image))
    return np.asarray(ImageOps.pad(fitted, (width, height), method=Image.Resampling.LANCZOS, color="white"))


def enlarge(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image, enlarged to about its size on the page if it is smaller, so that maps drawn on it are smooth."""
    image = check_image(image)
    factor = max(1.0, min(width / image.shape[1], height / image.shape[0]))
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def resize_map(values: np.ndarray, height: int, width: int, *, smooth: bool = True) -> np.ndarray:
    """A float map [h, w] of cells at another size: [height, width].

    ``smooth`` interpolates linearly between the centres of cells, so no value exceeds a cell's. Otherwise each cell is
    a block.
    """
    way = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    resized = Image.fromarray(np.ascontiguousarray(values, np.float32)).resize((width, height), way)
    return np.asarray(resized).clip(0, 1)


def node_positions(nodes: int, pixels: int) -> np.ndarray:
    """The position of each pixel's middle, along one side, in units of the label nodes of that side: [pixels].

    Labels are corner-aligned (see :mod:`partreid.labels`): node i lies at i·pixels/(nodes-1), the outer nodes on the
    image's border.
    """
    return np.asarray((np.arange(pixels) + 0.5) * (nodes - 1) / pixels)


def sample_nodes(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """A label's float maps [..., h, w], given at nodes, at every pixel, bilinear: [..., height, width]."""
    sampled = np.asarray(values, np.float32)
    for axis, pixels in ((-2, height), (-1, width)):
        position = node_positions(sampled.shape[axis], pixels)
        before = position.astype(int)
        after = np.minimum(before + 1, sampled.shape[axis] - 1)
        weight = (position - before).astype(np.float32)
        weight = weight[:, None] if axis == -2 else weight
        sampled = sampled.take(before, axis) * (1 - weight) + sampled.take(after, axis) * weight
    return sampled


def overlay_parts(
    image: np.ndarray,
    attention: np.ndarray,
    slots: Sequence[str],
    *,
    visibility: np.ndarray | None = None,
    strength: float = _STRENGTH,
    smooth: bool = True,
) -> np.ndarray:
    """The parts' attention in the parts' colours over an image; invisible parts are not drawn.

    Args:
        image: uint8 [H, W, 3]. attention: [K+1, h, w] in [0, 1], background first.
        slots: names of the K parts, with or without the foreground before them. A single foreground counts as a part.
        visibility: one value per name in ``slots``; a part with 0 is left out. None draws all.
        strength: opacity of full attention. smooth: as in :func:`resize_map`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ShapeError: shapes do not fit, or values lie outside [0, 1].
    """
    image = check_image(image)
    parts = [slot for slot in slots if slot not in HOLISTIC] or list(slots)
    maps = check_attention(attention, parts)[1:]
    seen = dict.fromkeys(slots, True)
    if visibility is not None:
        if len(visibility) != len(slots):
            raise ShapeError(f"visibility must hold one value per slot {tuple(slots)}, got {len(visibility)}.")
        seen = {slot: float(value) > 0 for slot, value in zip(slots, visibility, strict=True)}
    colors = part_colors(slots)
    shown = [part for part in parts if seen[part]]
    layers = [resize_map(maps[parts.index(part)], *image.shape[:2], smooth=smooth) * strength for part in shown]
    return _blend(image, [colors[part] for part in shown], layers)


def overlay_part_maps(
    image: np.ndarray, part_maps: np.ndarray, parts: Sequence[str], *, strength: float = 0.75
) -> np.ndarray:
    """A label's part maps E in the parts' colours over a grey copy: uint8 [H, W, 3].

    Args:
        image: uint8 [H, W, 3]. part_maps: E [K, h, w] in [0, 1] at corner-aligned nodes.
        parts: names of the K parts. strength: opacity of the value 1.

    Raises:
        ShapeError: the image is not valid, or the maps do not fit the parts.
    """
    image, part_maps = check_image(image), check_maps(part_maps, parts)
    colors = part_colors(parts)
    layers = sample_nodes(part_maps, *image.shape[:2]) * strength
    return _blend(_to_uint8(_grey(image).repeat(3, axis=2)), [colors[part] for part in parts], list(layers))


def overlay_heat(image: np.ndarray, values: np.ndarray, *, grid: Grid = "smooth", strength: float = 0.75) -> np.ndarray:
    """One map [h, w] in [0, 1] as heat over a grey copy of the image: uint8 [H, W, 3].

    Args:
        image: uint8 [H, W, 3]. values: the map.
        grid: the meaning of its values. "smooth" and "cells": cells of a feature map, interpolated or as blocks.
            "nodes": a label's corner-aligned nodes. strength: opacity of the value 1.

    Raises:
        ShapeError: the image or the map is not valid.
    """
    image = check_image(image)
    if np.ndim(values) != 2 or not np.size(values) or not np.isfinite(values).all():
        raise ShapeError(f"A map must be [h, w] of finite numbers, got shape {np.shape(values)}.")
    if grid == "nodes":
        heat = sample_nodes(values, *image.shape[:2]).clip(0, 1)
    else:
        heat = resize_map(values, *image.shape[:2], smooth=grid == "smooth")
    return _heat(0.35 + 0.65 * _grey(image), heat, strength)


def heat_scale(width: int, height: int) -> np.ndarray:
    """The colours of :func:`overlay_heat` from 0 to 1 on a middle grey: uint8 [height, width, 3]."""
    heat = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))
    return _heat(np.full((height, width, 1), 0.7, np.float32), heat, 0.75)


def _heat(base: np.ndarray, heat: np.ndarray, strength: float) -> np.ndarray:
    colored = np.asarray(colormaps["inferno"](heat), np.float32)[..., :3]
    alpha = (strength * heat**0.6)[..., None]  # the square root keeps faint attention visible
    return _to_uint8(base * (1 - alpha) + colored * alpha)


def paint_labels(image: np.ndarray, label_map: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """A label map [h, w] (0 = background, i = part i) in the parts' colours over a grey copy: uint8 [H, W, 3].

    Each pixel has the label of its nearest node (corner-aligned), because labels cannot be interpolated.

    Raises:
        ShapeError: the image or the map is not valid, or a label is larger than the number of parts.
    """
    image, label_map = check_image(image), np.asarray(label_map)
    whole = label_map.ndim == 2 and label_map.size > 0 and label_map.dtype.kind in "iub"
    if not whole or label_map.min() < 0 or label_map.max() > len(parts):
        raise ShapeError(
            f"A label map must be [h, w], whole numbers with values 0..{len(parts)}, got {label_map.dtype} "
            f"{label_map.shape}" + (f" and values {label_map.min()}..{label_map.max()}." if label_map.size else ".")
        )
    colors = part_colors(parts)
    rows, columns = (
        (node_positions(nodes, pixels) + 0.5).astype(int)
        for nodes, pixels in zip(label_map.shape, image.shape[:2], strict=True)
    )
    labels = label_map[rows[:, None], columns[None]].astype(np.int64)
    table = np.array([(1.0, 1.0, 1.0), *(colors[part] for part in parts)], np.float32)
    alpha = np.where(labels == 0, 0.45, 0.8)[..., None]
    return _to_uint8(_grey(image) * (1 - alpha) + table[labels] * alpha)


def _grey(image: np.ndarray) -> np.ndarray:
    """Luma (ITU-R BT.601) in [0, 1]: [H, W, 1]."""
    return np.asarray(image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255)[..., None]


def _blend(image: np.ndarray, colors: Sequence[Color], layers: Sequence[np.ndarray]) -> np.ndarray:
    """Lay colours over an image, each with its opacity [H, W]. Opacities that add up to more than 1 are scaled."""
    base = image.astype(np.float32) / 255
    color, opacity = np.zeros_like(base), np.zeros(base.shape[:2], np.float32)
    for tint, alpha in zip(colors, layers, strict=True):
        color += alpha[..., None] * np.array(tint, np.float32)
        opacity += alpha
    excess = np.maximum(1, opacity)[..., None]
    return _to_uint8(base * (1 - opacity[..., None] / excess) + color / excess)


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return np.asarray(image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
