"""Made-up images of people: a figure before a gradient, with maps of its parts."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

PARTS = ("head", "arms", "torso", "legs", "feet")
_CLOTHES = ("#b03a2e", "#1f618d", "#117a65", "#b7950b", "#6c3483", "#515a5a")


def person(seed: int, *, pid: int, hide_legs: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A 128×64 image, [K+1, 16, 8] attention and [16, 8] labels."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(150, 235, 128)[:, None, None] + rng.normal(0, 6, (128, 64, 1)) + rng.integers(-25, 25, 3)
    picture = Image.fromarray(np.broadcast_to(ramp, (128, 64, 3)).clip(0, 255).astype(np.uint8))
    labels = Image.new("L", (64, 128))
    dx = int(rng.integers(-4, 5))
    shapes = [
        (5, "ellipse", (20, 112, 44, 124), "#2c2c2c"),
        (4, "rectangle", (22, 70, 42, 114), _CLOTHES[(pid + 1) % 6]),
        (2, "rectangle", (13, 30, 51, 66), "#e0ac69"),
        (3, "rectangle", (20, 28, 44, 74), _CLOTHES[pid % 6]),
        (1, "ellipse", (24, 6, 40, 28), "#e0ac69"),
    ]
    for label, kind, (x0, y0, x1, y1), color in shapes:
        for image, fill in ((picture, color), (labels, label)):
            getattr(ImageDraw.Draw(image), kind)((x0 + dx, y0, x1 + dx, y1), fill=fill)
    if hide_legs:
        ImageDraw.Draw(picture).rectangle((0, 78, 63, 127), fill="#7e5109")
        ImageDraw.Draw(labels).rectangle((0, 78, 63, 127), fill=0)
    small = np.asarray(labels)[4::8, 4::8].astype(np.int64)
    logits = 4.0 * (small[None] == np.arange(6)[:, None, None]) + rng.normal(0, 0.5, (6, 16, 8))
    attention = np.exp(logits) / np.exp(logits).sum(axis=0)
    return np.asarray(picture), attention.astype(np.float32), small
