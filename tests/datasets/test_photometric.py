"""Light, colour and resolution change as each term says, and nothing else does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from partreid.datasets.augment import Augmentation, AugmentConfig
from partreid.datasets.photometric import PhotometricConfig, jitter, lower_resolution
from partreid.errors import ConfigError
from partreid.preprocessing import PreprocessConfig

B, HEIGHT, WIDTH = 24, 32, 16
NOTHING = PhotometricConfig(brightness=1, contrast=1, saturation=1, hue=0)
GREY = torch.tensor([0.299, 0.587, 0.114])


@pytest.fixture
def images() -> Tensor:
    """Colours so near to the middle that no change reaches 0 or 255."""
    return torch.randint(70, 110, (B, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1)).byte()


def varied(images: Tensor, config: PhotometricConfig, *, probability: float = 1, grayscale: float = 0) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    result = jitter(images, config, generator, probability=probability, grayscale=grayscale)
    assert result.dtype == torch.uint8
    assert result.shape == images.shape
    return result.double()


def grey(images: Tensor) -> Tensor:
    return (images.double() * GREY.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def factors(after: Tensor, before: Tensor) -> Tensor:
    """[B] the factor by which each image's values were multiplied; all of them, up to rounding to whole numbers."""
    after, before = after.flatten(1), before.flatten(1)
    factor = (after * before).sum(dim=1) / before.square().sum(dim=1)
    assert (after - factor.unsqueeze(1) * before).abs().max() < 1
    return factor


def check_spread(factor: Tensor, most: float) -> None:
    assert ((factor > 0.99 / most) & (factor < 1.01 * most)).all()
    assert factor.min() < most**-0.5  # both ways, and far
    assert factor.max() > most**0.5


def test_brightness_is_one_factor(images: Tensor) -> None:
    check_spread(factors(varied(images, NOTHING.override(["brightness=2"])), images.double()), 2)


def test_contrast_keeps_the_mean_grey(images: Tensor) -> None:
    mean = grey(images).mean(dim=(1, 2, 3), keepdim=True)
    check_spread(factors(varied(images, NOTHING.override(["contrast=2"])) - mean, images - mean), 2)


def test_saturation_keeps_each_grey(images: Tensor) -> None:
    after = varied(images, NOTHING.override(["saturation=2"]))
    assert (grey(after) - grey(images)).abs().max() < 1
    check_spread(factors(after - grey(images), images - grey(images)), 2)


def test_hue_turns_all_colours_alike_and_keeps_each_grey(images: Tensor) -> None:
    after = varied(images, NOTHING.override(["hue=0.1"]))
    assert (grey(after) - grey(images)).abs().max() < 1
    axes = torch.tensor([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)
    before, now = (torch.einsum("ac,bchw->abhw", axes, x.double()) for x in (images, after))
    strong = before.norm(dim=0) > 10
    turns = torch.atan2(now[1], now[0]) - torch.atan2(before[1], before[0])
    turns = torch.remainder(turns + math.pi, 2 * math.pi) - math.pi
    means = torch.stack([turn[there].mean() for turn, there in zip(turns, strong, strict=True)])
    assert means.abs().max() < 0.1 * 2 * math.pi + 0.01
    assert means.min() < -0.2 < 0.2 < means.max()
    assert ((turns - means.view(-1, 1, 1)).abs() < 0.15)[strong].all()
    assert ((now.norm(dim=0) / before.norm(dim=0) - 1).abs() < 0.15)[strong].all()


def test_without_colour_all_channels_are_the_grey(images: Tensor) -> None:
    after = varied(images, NOTHING, probability=0, grayscale=1)
    assert (after - grey(images)).abs().max() <= 0.5 + 1e-3


def test_values_end_at_black_and_white() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).repeat(2 * B).view(B, 1, 2, 2).expand(-1, 3, -1, -1)
    after = varied(images, NOTHING.override(["brightness=4"]))
    assert (after[:, :, :, 0] == 0).all()
    assert (after[:, :, :, 1] <= 255).all()
    assert (after[:, :, :, 1] == 255).any()


@pytest.mark.parametrize("probability", [0, 0.5])
def test_the_others_are_as_they_were(images: Tensor, probability: float) -> None:
    config = PhotometricConfig()
    same = (varied(images, config, probability=probability) == images).flatten(1).all(dim=1)
    assert int(same.sum()) == B if probability == 0 else 0 < int(same.sum()) < B
    low = lower_resolution(images, config, torch.Generator().manual_seed(0), probability=probability)
    same = (low == images).flatten(1).all(dim=1)
    assert int(same.sum()) == B if probability == 0 else 0 < int(same.sum()) < B


def test_lower_resolution_takes_details_and_keeps_surfaces() -> None:
    plain = torch.full((B, 3, HEIGHT, WIDTH), 93, dtype=torch.uint8)
    stripes = plain.clone()
    stripes[..., ::2], stripes[..., 1::2] = 40, 200
    config = PhotometricConfig(resolution_min=0.25)

    def lowered(images: Tensor, config: PhotometricConfig = config) -> Tensor:
        return lower_resolution(images, config, torch.Generator().manual_seed(0), probability=1)

    assert torch.equal(lowered(plain), plain)
    contrast = lowered(stripes).double().flatten(1).std(dim=1)
    assert contrast.min() < 10  # a quarter of the columns cannot show them
    assert contrast.max() > 20  # not all are so small
    assert torch.equal(lowered(stripes, PhotometricConfig(resolution_min=1)), stripes)


def test_labels_are_untouched_and_the_generator_decides(images: Tensor) -> None:
    maps = torch.rand(B, 3, 9, 5, generator=torch.Generator().manual_seed(3))
    plain = AugmentConfig(padding=0, erase_probability=0)
    recoloured = plain.override(["jitter_probability=1", "grayscale_probability=0.2", "resolution_probability=0.5"])

    def run(config: AugmentConfig, seed: int) -> tuple[Tensor, Tensor]:
        augmentation = Augmentation(config, PreprocessConfig(height=HEIGHT, width=WIDTH), (8, 4))
        out = augmentation(images, maps, torch.arange(B), torch.Generator().manual_seed(seed))
        assert out.labels is not None
        return out.images, out.labels

    first, labels = run(recoloured, 0)
    assert torch.equal(first, run(recoloured, 0)[0])
    assert not torch.equal(first, run(recoloured, 1)[0])
    assert not torch.equal(first, run(plain, 0)[0])
    assert torch.equal(labels, run(plain, 0)[1])


@pytest.mark.parametrize("wrong", [{"brightness": 0.5}, {"hue": 0.7}, {"resolution_min": 0}, {"contrast": 100}])
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        PhotometricConfig.parse(wrong)
