"""The images that a network file expects: their size, their range of numbers, their order of channels.

Such a network often normalises by itself, and reads bytes in OpenCV's order of channels. If it gets normalised RGB as
ImageNet's networks do, it answers with wrong numbers that look right. There are two sources: the first operations of
the graph, which are run on a few trial images, and the notes of OpenVINO's converter (``rt_info``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from partreid.lazy import is_tensor, torch
from partreid.preprocessing import PreprocessConfig

if TYPE_CHECKING:
    from torch import Tensor

    from partreid.models.backbones.network_files import NetworkFiles
    from partreid.models.backbones.nodes import Graph

Triple = tuple[float, float, float]

_BYTES: tuple[Triple, Triple] = ((0.0,) * 3, (1 / 255,) * 3)
"""Mean and deviation, as in :class:`~partreid.preprocessing.PreprocessConfig`, that keep pixels in 0..255."""
_UNIT: tuple[Triple, Triple] = ((0.0,) * 3, (1.0,) * 3)
"""Mean and deviation that bring pixels to 0..1."""

_MEANS = ((0.485, 0.456, 0.406), (0.4814547, 0.4578275, 0.4082107))
"""Well-known means of RGB, ImageNet's and CLIP's, by which the order of channels and the range are recognised."""
_MANY = 16
"""Larger means and deviations are for pixels 0..255, because a network for numbers around 1 has none so large."""
_FIRST = 24
"""How many operations at the beginning are examined."""
_SIDE = 8


@dataclass(frozen=True)
class FileInput:
    """A file's statements about its input. None = the file does not say.

    Attributes:
        size: (height, width) that the file was made for.
        mean, std: of RGB, as in :class:`~partreid.preprocessing.PreprocessConfig`: the normalisation that the network
            does not do itself.
        order: of the channels that it reads.
    """

    size: tuple[int, int] | None = None
    mean: Triple | None = None
    std: Triple | None = None
    order: Literal["rgb", "bgr"] | None = None

    def contradictions(self, given: PreprocessConfig) -> dict[str, Any]:
        """The fields of a preprocessing that contradict the file, with the file's values. The size is not compared."""
        wrong: dict[str, Any] = {}
        if not (_near(given.mean, self.mean) and _near(given.std, self.std)):
            wrong |= {"mean": self.mean, "std": self.std}
        if self.order is not None and given.order != self.order:
            wrong["order"] = self.order
        return wrong


def _near(a: Sequence[float], b: Sequence[float] | None) -> bool:
    return b is None or all(abs(x - y) <= 1e-3 * max(abs(y), 1e-3) for x, y in zip(a, b, strict=True))


def file_input(graph: Graph, files: NetworkFiles | None, size: tuple[int, int] | None, passages: Any) -> FileInput:
    """The statements of a network file about its input.

    Args:
        graph: as it was read. files: its bytes, if available. size: as found in the graph.
        passages: names of the values on every path from the image, in their order.
    """
    flipped, mean, std = _beginning(graph, list(islice(passages, _FIRST)))
    said = {} if files is None else _conversion(files)
    turned = said.get("reverse_input_channels", "").lower() == "true"
    if mean is None or std is None:  # the converter may have put them into the first convolution
        mean, std = _numbers(said.get("mean_values")), _numbers(said.get("scale_values") or said.get("scale"))
        flipped = turned
        mean, std = (mean or (0.0,) * 3, std or (1.0,) * 3) if mean or std else (None, None)
    reads = None if mean is None or std is None else _range(mean, std)
    order = None if mean is None else _order(mean)
    if order is not None and flipped:
        order = "bgr" if order == "rgb" else "rgb"
    if order is None and turned:
        order = "bgr"  # networks are trained with RGB, unless their means say otherwise
    mean, std = reads or (None, None)
    return FileInput(size, mean, std, order)


def _beginning(graph: Graph, passages: Sequence[str]) -> tuple[bool, Triple | None, Triple | None]:
    """Whether the first operations reverse the channels, and the mean and the deviation that they then apply."""
    images = torch.zeros(5, 3, _SIDE, _SIDE)
    for channel in range(3):
        images[1 + channel, channel] = 1
    images[4] = torch.arange(3 * _SIDE * _SIDE).view(3, _SIDE, _SIDE).remainder(251)
    small = {name: torch.tensor(array) for name, array in graph.weights.items() if array.size <= 3}
    values: dict[str, Any] = {"": None, **graph.constants, **small, graph.input: images}
    found: tuple[list[int], Tensor, Tensor] = ([0, 1, 2], torch.ones(3), torch.zeros(3))
    with torch.no_grad():
        for node in graph.nodes[:_FIRST]:
            if not all(name in values for name in node.inputs):
                continue
            try:
                values[node.name] = node.call(*(values[name] for name in node.inputs))
            except Exception:  # the trial images do not have the size that the network needs
                break
            if node.name not in passages:
                continue
            affine = _affine(images, values[node.name])
            if affine is None:
                break
            found = affine
    places, factor, offset = found
    if places not in ([0, 1, 2], [2, 1, 0]):
        return False, None, None
    flipped = places == [2, 1, 0]
    if bool((factor == 1).all() and (offset == 0).all()):
        return flipped, None, None
    return flipped, _triple(-offset / factor), _triple(1 / factor)


def _affine(images: Tensor, answer: Any) -> tuple[list[int], Tensor, Tensor] | None:
    """For each output channel: its input channel, a factor and a summand. None if it is another function."""
    if not is_tensor(answer) or answer.shape != images.shape:
        return None
    offset = answer[0, :, 0, 0]
    factors = (answer[1:4, :, 0, 0] - offset).T  # [answer's channel, image's channel]
    if not bool(((factors.abs() > 1e-9).sum(1) == 1).all() and factors.isfinite().all()):
        return None
    places = factors.abs().argmax(1)
    factor = factors.gather(1, places[:, None])[:, 0]
    expected = images[:, places] * factor.view(3, 1, 1) + offset.view(3, 1, 1)
    if bool((factor <= 0).any()) or not torch.allclose(answer, expected, rtol=1e-3, atol=1e-3):
        return None
    return places.tolist(), factor, offset


def _triple(values: Tensor) -> Triple:
    first, second, third = values.tolist()
    return first, second, third


def _range(mean: Triple, std: Triple) -> tuple[Triple, Triple] | None:
    """The range of pixels read by a network with this mean and deviation: bytes, 0..1, or unknown."""
    if max(*map(abs, mean), *std) > _MANY:
        return _BYTES
    known = [*_MEANS, (0.5,) * 3]
    return _UNIT if any(_like(mean, one) or _like(mean, one[::-1]) for one in known) else None


def _order(mean: Triple) -> Literal["rgb", "bgr"] | None:
    """The order of channels of a well-known mean."""
    scale = 255 if max(mean) > 2 else 1
    for known in _MEANS:
        if _like(mean, tuple(scale * one for one in known)):
            return "rgb"
        if _like(mean, tuple(scale * one for one in known[::-1])):
            return "bgr"
    return None


def _like(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(abs(x - y) < 0.02 * y for x, y in zip(a, b, strict=True))


def _conversion(files: NetworkFiles) -> Mapping[str, str]:
    """The options of OpenVINO's converter, from the end of an ``.xml`` file."""
    if not files.main.endswith(".xml"):
        return {}
    found = ElementTree.fromstring(files.content[files.main]).find("rt_info/conversion_parameters")
    return {} if found is None else {one.tag: one.attrib.get("value", "") for one in found}


def _numbers(text: str | None) -> Triple | None:
    """Three numbers, or one for all three, of ``data[123.675,116.28,103.53]``."""
    listed = re.findall(r"[\[(]([^\])]*)[\])]", text or "")
    numbers = re.findall(r"-?\d+\.?\d*(?:[eE]-?\d+)?", listed[0] if listed else text or "")
    if len(listed) > 1 or len(numbers) not in (1, 3):
        return None
    first, second, third = (float(one) for one in (numbers * 3)[:3])
    return first, second, third
