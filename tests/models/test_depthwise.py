"""The depthwise convolution against PyTorch's own."""

import pytest
import torch
from torch import nn

from partreid.models.backbones.depthwise import DepthwiseConv2d


def convolution(kernel: int, *, stride: int = 1, padding: int | None = None) -> nn.Conv2d:
    torch.manual_seed(0)
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(6, 6, kernel, stride=stride, padding=padding, groups=6, bias=False).double()


@pytest.mark.parametrize("size", [(8, 4), (5, 9), (3, 2), (4, 1)])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_output_and_both_gradients_are_those_of_pytorch(kernel, size):
    plain = convolution(kernel)
    ours = DepthwiseConv2d(convolution(kernel))
    x = torch.randn(3, 6, *size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    expected, result = plain(inputs[0]), ours(inputs[1])
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (result * weights).sum().backward()
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


def test_a_stride_and_a_pad_of_unequal_sides():
    plain, ours = (convolution(5, stride=2, padding=0) for _ in range(2))
    pad = nn.ZeroPad2d((1, 2, 1, 2))
    ours = DepthwiseConv2d(ours, pad=pad)
    x = torch.randn(2, 6, 8, 4, dtype=torch.float64)
    torch.testing.assert_close(ours(x), plain(pad(x)))
    assert ours(x).shape == (2, 6, 4, 2)


def test_it_draws_no_random_numbers_and_keeps_the_state_dict():
    conv = convolution(5)
    before = torch.get_rng_state()
    ours = DepthwiseConv2d(conv)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(ours.state_dict()) == ["weight"]
    assert ours.weight is conv.weight


def test_no_gradient_for_images_that_need_none():
    ours = DepthwiseConv2d(convolution(5))
    ours(torch.randn(2, 6, 8, 4, dtype=torch.float64)).sum().backward()
    assert ours.weight.grad is not None


@pytest.mark.parametrize("stride", [1, 2])
def test_under_autocast_a_wide_kernel_trains_in_float32(stride):
    plain, ours = convolution(5, stride=stride).float(), DepthwiseConv2d(convolution(5, stride=stride).float())
    images = torch.randn(2, 6, 8, 4).bfloat16()
    inputs = [images.clone().requires_grad_() for _ in range(2)]
    expected = plain(inputs[0].float())
    expected.sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        result = ours(inputs[1])
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    # In bfloat16 the weights' gradient, a sum over 64 cells, would be off in its third digit.
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
