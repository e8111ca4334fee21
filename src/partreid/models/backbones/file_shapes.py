"""Operations of network files that shape, cut and join; operands may be tensors, numbers or lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from partreid.models.backbones.file_numbers import MOST_NUMBERS, as_list, as_number, choice, each, limited
from partreid.models.backbones.operations import Value


def shape_of(x: Tensor) -> list[int]:
    """The sizes of a tensor."""
    return list(x.shape)


def reshape(x: Value, shape: Value, *, zero_copies: bool = True, each_image: bool = False) -> Value:
    """A tensor in another shape; 0 copies a size if ``zero_copies``.

    Args:
        each_image: the file was made for one image, and its first size, 1, means the number of images.
    """
    sizes = as_list(shape)
    if not isinstance(x, Tensor):
        numbers = as_list(x)
        if sizes in ([-1], [len(numbers)]):
            nested = bool(numbers) and all(isinstance(row, list) for row in numbers)
            return limited([one for row in numbers for one in row]) if nested else numbers
        if sizes[:1] == [-1] and len(sizes) == 2 and sizes[1] > 0 and len(numbers) % sizes[1] == 0:
            # Rows of numbers: PyTorch's old exporter uses them to convert its order of padding to ONNX's.
            return [numbers[i : i + sizes[1]] for i in range(0, len(numbers), sizes[1])]
        if (sizes == [] or sizes == [1]) and len(numbers) == 1:
            return numbers if sizes else numbers[0]
        raise ValueError(f"a list of {len(numbers)} numbers in the shape {sizes}")
    sizes = [
        x.shape[i] if zero_copies and isinstance(size, int) and size == 0 else size for i, size in enumerate(sizes)
    ]
    if each_image:
        sizes[0] = x.shape[0]
    return x.reshape(sizes)


def expand(x: Value, shape: Value) -> Value:
    """Broadcast to a shape: repeated along axes of size 1, and along new axes in front."""
    sizes = as_list(shape)
    if not isinstance(x, Tensor):
        if len(sizes) > 1 or (sizes and isinstance(sizes[0], int) and sizes[0] > MOST_NUMBERS):
            raise ValueError(f"numbers in the shape {sizes}")
        return each(choice, [1] * sizes[0], x, 0) if sizes else x
    pairs = list(zip_longest(reversed(x.shape), reversed(sizes), fillvalue=1))[::-1]
    # Either side may have the size 1. A symbolic size is compared only if necessary.
    return x.expand([have if isinstance(want, int) and want == 1 else want for have, want in pairs])


def permute(x: Value, order: Value = None) -> Value:
    """Axes in another order; without one, reversed."""
    order = as_list([] if order is None else order)
    if not isinstance(x, Tensor):
        if order not in ([], [1, 0]) or not all(isinstance(row, list) for row in as_list(x)):
            raise ValueError(f"numbers with their axes in the order {order}")
        return [list(column) for column in zip(*x, strict=True)]
    return x.permute(order or list(range(x.ndim))[::-1])


def squeeze(x: Value, axes: Value = None) -> Value:
    """Without the axes named, whose sizes are 1.

    Raises:
        ValueError: no axes are named for a tensor. Without names a single image would lose the axis of images.
    """
    if not isinstance(x, Tensor):
        if axes in (None, 0, -1, [0], [-1]):
            return as_number(x)
        raise ValueError(f"numbers without the axes {axes}")
    if axes is None:
        raise ValueError("it names no axes")
    places = as_list(axes)
    if any(isinstance(size, int) and size != 1 for size in (x.shape[place] for place in places)):
        raise ValueError(f"an axis of {places} does not have the size 1: {list(x.shape)}")
    return x.squeeze(tuple(places))


def unsqueeze(x: Value, axes: Value) -> Value:
    """With new axes of size 1 at the places named."""
    places = as_list(axes)
    if not isinstance(x, Tensor):
        if places in ([0], [-1]) and not isinstance(x, list):
            return [x]
        raise ValueError(f"numbers with the further axes {places}")
    places = sorted(place + x.ndim + len(places) if place < 0 else place for place in places)
    for place in places:
        x = x.unsqueeze(place)
    return x


def gather(x: Value, index: Value, axis: Value = 0) -> Value:
    """Entries of a list, or of one axis of a tensor."""
    axis = as_number(axis)
    if not isinstance(x, Tensor):
        numbers = as_list(x)
        return [numbers[i] for i in limited(index)] if isinstance(index, list) else numbers[index]
    size = x.shape[axis]
    places = [place + size if place < 0 else place for place in as_list(index)]
    if any(isinstance(size, int) and not 0 <= place < size for place in places):
        raise IndexError(f"there is no place {max(places)} among {size}")
    if not isinstance(index, list):
        return x.select(axis, places[0])
    return x.index_select(axis, torch.tensor(places, device=x.device))


def concat(*values: Value, axis: int) -> Value:
    """Tensors or lists, concatenated."""
    if any(isinstance(value, Tensor) for value in values):
        return torch.cat(values, dim=axis)
    if axis not in (0, -1):
        raise ValueError(f"lists joined along the axis {axis}")
    return limited([one for value in values for one in as_list(value)])


def sliced(x: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """A slice from start to end along axes. An end beyond the last position means the end of the axis. Negative
    positions count from the end.

    Raises:
        ValueError: a tensor with a step below 1.
    """
    first, last = as_list(starts), as_list(ends)
    places = list(range(len(first))) if axes is None else as_list(axes)
    strides = [1] * len(first) if steps is None else as_list(steps)
    cuts = list(zip(places, first, last, strides, strict=True))
    if not isinstance(x, Tensor):
        for place, start, end, step in cuts:
            if place not in (0, -1) or step == 0:
                raise ValueError(f"a list cut along the axis {place} in steps of {step}")
            x = as_list(x)[start : None if step < 0 and end < -len(x) else end : step]
        return x
    for place, start, end, step in cuts:
        if step < 1:
            raise ValueError(f"steps of {step} are not supported")
        place = place + x.ndim if place < 0 else place
        if not 0 <= place < x.ndim:
            raise IndexError(f"there is no axis {place}")
        x = x[(slice(None),) * place + (slice(start, end, step),)]
    return x


def parts(x: Value, axis: Value, sizes: Value = None, *, number: int | None = None) -> Sequence[Value]:
    """Pieces along an axis: of these sizes (one may be -1, for the rest), or a number of equal pieces."""
    axis, lengths = as_number(axis), [] if sizes is None else as_list(sizes)
    if not isinstance(x, Tensor):
        raise ValueError("a list in pieces")
    whole = x.shape[axis]
    if not lengths:
        if not number or whole % number:
            raise ValueError(f"{number} equal pieces of {whole}")
        lengths = [whole // number] * number
    if -1 in lengths:
        lengths[lengths.index(-1)] = whole - sum(lengths) - 1
    pieces: Sequence[Value] = torch.split(x, lengths, dim=axis)
    return pieces


def piece(pieces: Sequence[Value], *, index: int) -> Value:
    """One of several answers of an operation."""
    return pieces[index]


def filled(shape: Value, *, value: int) -> Value:
    """A list that repeats one number."""
    (length,) = as_list(shape) or [None]
    if length is None:
        return value
    if length < 0 or length > MOST_NUMBERS:
        raise ValueError(f"a list of {length} numbers; at most {MOST_NUMBERS} are allowed")
    return [value] * length
