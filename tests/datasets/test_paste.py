"""Pasting and flipping: what covers a person covers its labels, and left stays left."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from partreid.datasets.augment import Augmentation, AugmentConfig
from partreid.datasets.paste import PasteConfig, paste, random_boxes
from partreid.errors import ConfigError, LabelError
from partreid.parts import get_part_schema
from partreid.preprocessing import PreprocessConfig

B, HEIGHT, WIDTH, NODES = 8, 64, 32, (17, 9)
PIDS = torch.arange(B)


@pytest.fixture
def images() -> Tensor:
    """Every image has one brightness of its own, so that each pixel tells where it comes from."""
    return (20 * (torch.arange(B) + 1)).view(B, 1, 1, 1).expand(B, 3, HEIGHT, WIDTH).to(torch.uint8)


@pytest.fixture
def part_maps() -> Tensor:
    """A person in the middle third: head above, legs below."""
    maps = torch.zeros(B, 2, *NODES)
    maps[:, 0, 2:9, 3:6] = 1
    maps[:, 1, 9:16, 3:6] = 1
    return maps


def foreign(images: Tensor, out: Tensor) -> Tensor:
    return (out != images).any(dim=1)


@pytest.mark.parametrize("people", [0.0, 1.0])
def test_labels_end_exactly_where_something_was_pasted(images: Tensor, part_maps: Tensor, people: float) -> None:
    config = PasteConfig(people=people, max_hidden=1)
    out, maps = paste(images, part_maps, PIDS, config, torch.Generator().manual_seed(0))
    assert maps is not None
    covered = foreign(images, out)
    assert covered.flatten(1).any(dim=1).sum() >= B - 2
    for b in range(B):
        for i in range(NODES[0]):
            for j in range(NODES[1]):
                y, x = i * (HEIGHT - 1) / (NODES[0] - 1), j * (WIDTH - 1) / (NODES[1] - 1)
                around = covered[b, int(y) : int(y) + 2, int(x) : int(x) + 2]
                if around.all():
                    assert (maps[b, :, i, j] == 0).all()
                elif not around.any():
                    assert torch.equal(maps[b, :, i, j], part_maps[b, :, i, j])


def test_a_person_is_cut_out_along_his_fields_and_moved_aside(images: Tensor, part_maps: Tensor) -> None:
    config = PasteConfig(aside=(0.5, 0.5), down=(0, 0), scale=(1, 1), max_hidden=1)
    out, _ = paste(images, part_maps, PIDS, config, torch.Generator().manual_seed(0))
    covered = foreign(images, out)
    for b in range(B):
        if not covered[b].any():
            continue
        columns = covered[b].any(dim=0).nonzero().flatten()
        # A third of the width, half a width aside: at the left or the right border, the middle stays free.
        assert columns.max() < WIDTH // 3 or columns.min() > 2 * WIDTH // 3 - 2
        assert not covered[b, : HEIGHT // 17].any()


def test_who_touches_the_border_is_cut_off_there_without_a_fringe(images: Tensor) -> None:
    everywhere = torch.ones(B, 2, *NODES)
    config = PasteConfig(scale=(0.9, 1.4), max_hidden=1)
    out, _ = paste(images, everywhere, PIDS, config, torch.Generator().manual_seed(0))
    assert foreign(images, out).any()
    assert set(out.unique().tolist()) <= set(images.unique().tolist())  # no mixture with what lies beyond an image


def test_nobody_is_pasted_over_himself(images: Tensor, part_maps: Tensor) -> None:
    same = torch.zeros(B, dtype=torch.long)
    out, maps = paste(images, part_maps, same, PasteConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(out, images)
    assert maps is not None
    assert torch.equal(maps, part_maps)


def test_a_paste_that_hides_too_much_is_left_out(images: Tensor, part_maps: Tensor) -> None:
    exactly_over = PasteConfig(aside=(0, 0), down=(0, 0), scale=(1, 1), max_hidden=0.5)
    out, maps = paste(images, part_maps, PIDS, exactly_over, torch.Generator().manual_seed(0))
    assert torch.equal(out, images)
    assert maps is not None
    assert torch.equal(maps, part_maps)


def test_probability_and_seed(images: Tensor, part_maps: Tensor) -> None:
    def run(probability: float, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return paste(images, part_maps, PIDS, PasteConfig(), generator, probability=probability)[0]

    assert torch.equal(run(0.0, 0), images)
    assert torch.equal(run(0.7, 3), run(0.7, 3))
    assert not torch.equal(run(0.7, 3), run(0.7, 4))


def test_people_need_labels_and_boxes_do_not(images: Tensor) -> None:
    with pytest.raises(LabelError, match="Pasting people needs human parsing labels"):
        paste(images, None, PIDS, PasteConfig(), torch.Generator())
    out, maps = paste(images, None, PIDS, PasteConfig(people=0), torch.Generator().manual_seed(0))
    assert maps is None
    assert foreign(images, out).any()


def test_ranges_are_checked() -> None:
    with pytest.raises(ConfigError, match="aside: expected a range from low to high"):
        PasteConfig.parse({"aside": (0.5, 0.1)})


def test_boxes_lie_inside_and_have_their_sides() -> None:
    boxes = random_boxes(500, 1.0, (0.2, 0.5), generator=torch.Generator().manual_seed(0))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()
    assert sides.min() >= 0.2 - 1e-6
    assert sides.max() <= 0.5 + 1e-6


def test_a_flip_mirrors_the_image_and_exchanges_left_and_right() -> None:
    schema = get_part_schema("eight")
    images = torch.randint(0, 256, (4, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    maps = torch.rand(4, len(schema), *NODES)
    plain = PreprocessConfig(height=HEIGHT, width=WIDTH, mean=(0, 0, 0), std=(1, 1, 1))
    config = AugmentConfig(padding=0, erase_probability=0, flip_probability=1)
    flipped = Augmentation(config, plain, (8, 4), schema)(images, maps, torch.arange(4), torch.Generator())
    straight = Augmentation(AugmentConfig(padding=0, erase_probability=0), plain, (8, 4))(
        images, maps, torch.arange(4), torch.Generator()
    )
    assert torch.equal(flipped.images, straight.images.flip(3))
    assert flipped.part_maps is not None
    assert straight.part_maps is not None
    left, right = schema.parts.index("left_arm"), schema.parts.index("right_arm")
    assert torch.allclose(flipped.part_maps[:, left], straight.part_maps[:, right].flip(2), atol=1e-6)
    head = schema.parts.index("head")
    assert torch.allclose(flipped.part_maps[:, head], straight.part_maps[:, head].flip(2), atol=1e-6)


def test_a_flip_of_labels_needs_their_schema() -> None:
    augmentation = Augmentation(AugmentConfig(flip_probability=1), PreprocessConfig(height=HEIGHT, width=WIDTH), (8, 4))
    images = torch.zeros(2, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="needs the part schema"):
        augmentation(images, torch.zeros(2, 3, *NODES), torch.arange(2), torch.Generator())
