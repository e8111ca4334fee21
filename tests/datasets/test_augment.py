"""Augmentation against plain loops: labels follow the image through crop and erasing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.datasets.augment import Augmentation, AugmentConfig, part_maps_at
from partreid.datasets.paste import inside_boxes, random_boxes
from partreid.errors import ConfigError
from partreid.functional.losses import IGNORED_LABEL
from partreid.labels.grouping import label_map
from partreid.preprocessing import PreprocessConfig, normalize
from tests.conftest import NO_AUGMENTATION

HEIGHT, WIDTH, MAP = 64, 32, (8, 4)
B, K = 6, 3
PLAIN = PreprocessConfig(height=HEIGHT, width=WIDTH, mean=(0, 0, 0), std=(1, 1, 1))
ERASE = AugmentConfig(padding=0, erase_probability=1)


@pytest.fixture
def images() -> Tensor:
    """Channel 0 is the row + 1, channel 1 the column + 1, channel 2 full: 0 is padding or erased."""
    rows = torch.arange(1, HEIGHT + 1).view(1, HEIGHT, 1).expand(1, HEIGHT, WIDTH)
    columns = torch.arange(1, WIDTH + 1).view(1, 1, WIDTH).expand(1, HEIGHT, WIDTH)
    return torch.cat([rows, columns, torch.full_like(rows, 255)]).to(torch.uint8).expand(B, -1, -1, -1)


def run(
    images: Tensor, maps: Tensor | None, config: AugmentConfig, *, seed: int = 0, preprocess: PreprocessConfig = PLAIN
) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    varied = Augmentation(config, preprocess, MAP)(images, maps, torch.arange(len(images)), generator)
    return varied.images, varied.labels


def bilinear(maps: Tensor, y: float, x: float) -> list[float]:
    """E of every part at a place of the image (in shares of its sides), between corner-aligned nodes."""
    _, h, w = maps.shape
    i, j = y * (h - 1), x * (w - 1)
    top, left = min(int(i), h - 2), min(int(j), w - 2)
    a, b = i - top, j - left
    scores = []
    for m in maps.tolist():
        upper = m[top][left] * (1 - b) + m[top][left + 1] * b
        lower = m[top + 1][left] * (1 - b) + m[top + 1][left + 1] * b
        scores.append(upper * (1 - a) + lower * a)
    return scores


def eq10(maps: Tensor, y: float, x: float, threshold: float = 0.5) -> int | None:
    """Eq. 10 at a place of the image; None where it is a tie."""
    if not (0 <= y <= 1 and 0 <= x <= 1):
        return 0
    scores = bilinear(maps, y, x)
    best = max(scores)
    if abs(best - threshold) < 1e-5 or sorted(scores)[-2] > best - 1e-5:
        return None
    return 0 if best < threshold else 1 + scores.index(best)


@pytest.mark.parametrize("nodes", [(17, 9), (9, 5), (33, 17), (5, 7)])
def test_without_augmentation_labels_are_eq10_at_cell_centres(images: Tensor, nodes: tuple[int, int]) -> None:
    maps = torch.rand(B, K, *nodes)
    pixels, labels = run(images, maps, NO_AUGMENTATION)
    assert torch.allclose(pixels * 255, images.float())
    assert labels is not None
    assert labels.shape == (B, *MAP)
    for b in range(B):
        for r in range(MAP[0]):
            for c in range(MAP[1]):
                expected = eq10(maps[b], (r + 0.5) / MAP[0], (c + 0.5) / MAP[1])
                assert expected is None or int(labels[b, r, c]) == expected


def test_nodes_at_the_centres_are_read_exactly() -> None:
    """Twice the map's resolution: odd nodes are the cells' centres, so hard labels come back as they are."""
    hard = torch.randint(0, K + 1, (2, *MAP))
    maps = torch.full((2, K, 2 * MAP[0] + 1, 2 * MAP[1] + 1), 0.4)
    for k in range(K):
        maps[:, k, 1::2, 1::2] = (hard == k + 1).float()
    offsets = torch.zeros(2, 2, dtype=torch.int64)
    cells = part_maps_at(maps, offsets, size=(HEIGHT, WIDTH), map_size=MAP)
    assert torch.equal(label_map(cells, 0.5), hard)


def test_a_tie_goes_to_the_first_part_and_the_threshold_counts_as_reached() -> None:
    maps = torch.full((1, K, *MAP), 0.5)
    assert (label_map(maps, 0.5) == 1).all()
    assert (label_map(maps * 0.999, 0.5) == 0).all()
    assert (label_map(torch.zeros(1, K, *MAP), 0) == 0).all()


@pytest.mark.parametrize("padding", [3, 10])
def test_labels_follow_the_crop(images: Tensor, padding: int) -> None:
    maps = torch.rand(B, K, 17, 9)
    pixels, labels = run(images, maps, AugmentConfig(padding=padding, erase_probability=0))
    assert labels is not None
    seen = set()
    for b in range(B):
        kept = pixels[b, 2] == 1
        r, c = (int(i) for i in kept.nonzero()[0])
        # The image says by itself from where it was cut.
        dy = round(float(pixels[b, 0, r, c]) * 255) - 1 - r
        dx = round(float(pixels[b, 1, r, c]) * 255) - 1 - c
        assert max(abs(dy), abs(dx)) <= padding
        seen.add((dy, dx))
        assert int(kept.sum()) == (HEIGHT - abs(dy)) * (WIDTH - abs(dx))
        assert not pixels[b][:, ~kept].any()
        for i in range(MAP[0]):
            for j in range(MAP[1]):
                y, x = (i + 0.5) / MAP[0] + dy / HEIGHT, (j + 0.5) / MAP[1] + dx / WIDTH
                expected = eq10(maps[b], y, x)
                assert expected is None or int(labels[b, i, j]) == expected
    assert len(seen) > 1


def test_padding_is_background_up_to_the_edge() -> None:
    """A part that fills the image ends where the image ends, not half a node later."""
    maps = torch.ones(1, 1, 5, 5)
    for dy, dx in ((-5, 0), (5, 0), (0, -5), (0, 5), (-10, 10)):
        cells = part_maps_at(maps, torch.tensor([[dy, dx]]), size=(HEIGHT, WIDTH), map_size=MAP)
        labels = label_map(cells, 0.5)[0]
        for i in range(MAP[0]):
            for j in range(MAP[1]):
                y, x = (i + 0.5) * HEIGHT / MAP[0] + dy, (j + 0.5) * WIDTH / MAP[1] + dx
                assert int(labels[i, j]) == int(0 <= y <= HEIGHT and 0 <= x <= WIDTH)


def test_erased_pixels_are_the_mean_and_their_labels_background(images: Tensor) -> None:
    imagenet = PreprocessConfig(height=HEIGHT, width=WIDTH)
    maps = torch.ones(B, K, 17, 9)
    pixels, labels = run(images, maps, ERASE, preprocess=imagenet)
    whole, _ = run(images, maps, NO_AUGMENTATION, preprocess=imagenet)
    assert labels is not None
    for b in range(B):
        erased = (pixels[b] == 0).all(dim=0)
        rows, columns = erased.any(dim=1).nonzero().flatten(), erased.any(dim=0).nonzero().flatten()
        assert int(erased.sum()) == len(rows) * len(columns)  # one box
        assert len(rows) == int(rows[-1] - rows[0]) + 1
        assert torch.equal(pixels[b][:, ~erased], whole[b][:, ~erased])
        for i in range(MAP[0]):
            for j in range(MAP[1]):
                # A cell's centre lies on the corner of four pixels; where they disagree the box's edge passes by.
                y, x = int((i + 0.5) * HEIGHT / MAP[0]), int((j + 0.5) * WIDTH / MAP[1])
                around = erased[y - 1 : y + 1, x - 1 : x + 1]
                if around.all() or not around.any():
                    assert int(labels[b, i, j]) == int(not around.any())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_crop_and_erasing_equal_a_padded_slice_and_a_mask(layout: torch.memory_format) -> None:
    """Whatever lies beside an image in memory: its neighbours in the batch must not show."""
    images = torch.randint(0, 256, (8, 3, 12, 6), dtype=torch.uint8)
    varied, _ = run(images.contiguous(memory_format=layout), None, AugmentConfig(padding=4, erase_probability=0.5))
    assert varied.is_contiguous(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randint(-4, 5, (8, 2), generator=generator)
    inside = inside_boxes(random_boxes(8, 0.5, (0.15, 0.65), generator=generator), 12, 6)
    for b, (dy, dx) in enumerate(offsets.tolist()):
        crop = F.pad(images[b], (4, 4, 4, 4))[:, 4 + dy : 16 + dy, 4 + dx : 10 + dx]
        assert torch.equal(varied[b], normalize(crop[None], PLAIN)[0].masked_fill(inside[b], 0))


def test_erased_shares_are_in_range() -> None:
    images = torch.full((400, 3, 100, 100), 255, dtype=torch.uint8)
    pixels, _ = run(images, None, ERASE)
    erased = pixels[:, 0] == 0
    for sides in (erased.any(dim=2).float().mean(dim=1), erased.any(dim=1).float().mean(dim=1)):
        assert 0.14 <= float(sides.min()) < 0.2
        assert 0.6 < float(sides.max()) <= 0.66
        assert float(sides.mean()) == pytest.approx(0.4, abs=0.03)
    corner = erased[:, 0, 0].float().mean(), erased[:, -1, -1].float().mean()
    assert max(corner) < 0.05
    half, _ = run(images, None, AugmentConfig(padding=0))
    assert float((half[:, 0] == 0).any(dim=2).any(dim=1).float().mean()) == pytest.approx(0.5, abs=0.08)


def test_crop_offsets_cover_the_whole_range_evenly() -> None:
    images = torch.arange(1, 17, dtype=torch.uint8).view(1, 1, 16, 1).expand(600, 3, 16, 16)
    pixels, _ = run(images, None, AugmentConfig(padding=2, erase_probability=0))
    middle = (pixels[:, 0, 8, 8] * 255).round().long() - 9
    counts = torch.bincount(middle + 2, minlength=5)
    assert int(counts.sum()) == 600
    assert counts.min() > 80


def test_the_generator_alone_decides(images: Tensor) -> None:
    maps = torch.rand(B, K, 17, 9)
    first, first_labels = run(images, maps, AugmentConfig(), seed=3)
    torch.manual_seed(99)
    second, second_labels = run(images, maps, AugmentConfig(), seed=3)
    other, _ = run(images, maps, AugmentConfig(), seed=4)
    assert first_labels is not None
    assert second_labels is not None
    assert torch.equal(first, second)
    assert torch.equal(first_labels, second_labels)
    assert not torch.equal(first, other)
    without, none = run(images, None, AugmentConfig(), seed=3)
    assert none is None
    assert torch.equal(without, first)


def test_quarters_find_a_foot_of_one_node_between_the_cells() -> None:
    """At the map's own resolution each node lies at the corner of four cells, whose centres see a quarter of it."""
    maps = torch.zeros(1, 1, MAP[0] + 1, MAP[1] + 1)
    maps[0, 0, 4, 2] = 1
    offsets = torch.zeros(1, 2, dtype=torch.int64)
    for sampling, strongest in (("centre", 0.25), ("quarters", 0.75**2)):
        cells = part_maps_at(maps, offsets, size=(HEIGHT, WIDTH), map_size=MAP, sampling=sampling)
        assert cells.shape == (1, 1, *MAP)
        assert torch.allclose(cells[0, 0, 3:5, 1:3], torch.tensor(strongest))
        assert int((label_map(cells, 0.5) > 0).sum()) == (0 if sampling == "centre" else 4)


def test_quarters_are_the_strongest_of_four_points(images: Tensor) -> None:
    maps = torch.rand(B, K, 7, 5)
    config = NO_AUGMENTATION.model_copy(update={"label_sampling": "quarters"})
    _, labels = run(images, maps, config)
    assert labels is not None
    for b, r, c in ((0, 0, 0), (1, 2, 1), (2, MAP[0] - 1, MAP[1] - 1)):
        points = [(r + i, c + j) for i in (0.25, 0.75) for j in (0.25, 0.75)]
        values = [bilinear(maps[b], y / MAP[0], x / MAP[1]) for y, x in points]
        strongest = torch.tensor(values).amax(dim=0)
        assert int(labels[b, r, c]) == (int(strongest.argmax()) + 1 if strongest.max() >= 0.5 else 0)


def test_nothing_is_learned_of_a_image_whose_label_shows_nobody(images: Tensor) -> None:
    maps = torch.ones(B, K, 17, 9)
    maps[1] = 0.4  # below λ_r everywhere: the pose estimator found no one
    maps[2] = 0  # no label file
    _, labels = run(images, maps, ERASE)
    assert labels is not None
    assert (labels[1:3] == IGNORED_LABEL).all()
    assert (labels[0] != IGNORED_LABEL).all()


def test_config_messages() -> None:
    with pytest.raises(ConfigError, match=r"erase_min = 0\.5 must not exceed erase_max = 0\.2"):
        AugmentConfig.parse({"erase_min": 0.5, "erase_max": 0.2})
    with pytest.raises(ConfigError, match=r"erase_probability = 2"):
        AugmentConfig.parse({"erase_probability": 2})
    assert math.isclose(AugmentConfig().erase_max, 0.65)
