"""The cost of every pair of tracks and detections, for the matrix that a tracker solves."""

import numpy as np
from PIL import Image

from partreid.datasets import shipped_split
from partreid.tracking import AppearanceMemory, FrameEmbedder, cost

queries = sorted((shipped_split() / "query").glob("*.jpg"))
people = [next(q for q in queries if q.name.startswith(person)) for person in sorted({q.name[:4] for q in queries})[:3]]


def frame(order):
    """A frame in which these people stand side by side, and their boxes x1, y1, x2, y2."""
    canvas = Image.new("RGB", (200, 140), (90, 100, 90))
    for place, person in enumerate(order):
        canvas.paste(Image.open(people[person]).resize((50, 100)), (10 + 60 * place, 20))
    boxes = np.array([[10 + 60 * place, 20, 60 + 60 * place, 120] for place in range(len(order))], dtype=float)
    return np.asarray(canvas), boxes


embedder = FrameEmbedder(order="rgb")  # "bgr" for frames that OpenCV has read
memories = [AppearanceMemory() for _ in people]
for memory, row in zip(memories, embedder(*frame([0, 1, 2])), strict=True):
    memory.update(row, time=0)

costs = cost(memories, embedder(*frame([2, 0, 1])), embedder.calibration, unknown=0.5)  # 1 - P(one person)
print(costs.round(2))
print("detections are tracks", costs.argmin(axis=0).tolist())
