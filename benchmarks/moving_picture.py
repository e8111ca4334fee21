"""``python -m benchmarks.moving_picture SEQUENCE -o FILE.webp``: the README's moving picture of a tracker with part memory.

SEQUENCE is a camera of ``partreid synth --sequences``. Boxes are those of what is seen of each person, as a detector
would find them. norfair tracks them with :class:`partreid.tracking.adapters.NorfairAppearance`; the number and colour of
a box are norfair's. The chips under a box are the body parts that the model sees: head, arms, torso, legs, feet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import norfair
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.tracking import read_films
from partreid.tracking import FrameEmbedder
from partreid.tracking.adapters import NorfairAppearance
from partreid.viz.colors import css, part_colors

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000", "#808000", "#000075",
           "#f032e6", "#469990", "#bfa100", "#5a5a5a")  # fmt: skip


def main() -> None:
    """Track, draw, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moving_picture", description=__doc__)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, nargs=2, default=(0, 60), metavar=("FIRST", "END"))
    options = parser.parse_args()
    (film,) = read_films(options.sequence, seed=0)
    embedder = FrameEmbedder(order="rgb")
    tracker = norfair.Tracker("iou", distance_threshold=0.8, hit_counter_max=30, initialization_delay=1,
                              reid_distance_threshold=0.8, reid_hit_counter_max=100)  # fmt: skip
    NorfairAppearance(embedder).attach(tracker)
    pictures = []
    for number, (_, boxes) in enumerate(film.truth[: options.frames[1]], 1):
        frame = Image.open(film.folder / "img1" / f"{number:06d}.jpg").convert("RGB")
        rows = embedder(np.asarray(frame), boxes)
        found = [norfair.Detection(b.reshape(2, 2), embedding=r) for b, r in zip(boxes, rows, strict=True)]
        tracked = tracker.update(found)
        if number > options.frames[0]:
            now = [one for one in tracked if any(one.last_detection is d for d in found)]
            pictures.append(drawn(frame, now))
    pictures[0].save(options.out, save_all=True, append_images=pictures[1:], duration=100, loop=0, quality=55, method=6)


def drawn(frame: Image.Image, tracked: list[norfair.tracker.TrackedObject]) -> Image.Image:
    """A frame with boxes, numbers, and chips of the parts seen."""
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(12)
    for one in tracked:
        row = one.last_detection.embedding
        x1, y1, x2, y2 = one.last_detection.points.reshape(4)
        colour = COLOURS[one.id % len(COLOURS)]
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=2)
        draw.rectangle((x1, y1 - 14, x1 + 9 + 7 * len(str(one.id)), y1), fill=colour)
        draw.text((x1 + 4, y1 - 14), str(one.id), fill="white", font=font)
        parts = [slot for slot in row.slots if slot != "foreground"]
        for place, (part, color) in enumerate(part_colors(parts).items()):
            left, seen, chip = x1 + 7 * place, bool(row[part].visibility > 0), css(color)
            draw.rectangle((left, y2 + 2, left + 5, y2 + 7), fill=chip if seen else None, outline=chip)
    return frame


if __name__ == "__main__":
    main()
