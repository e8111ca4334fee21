"""Operations of network files whose operands may be tensors, numbers or lists of numbers: arithmetic, shapes, slices.

Files reckon with sizes: the shape of one value says how another is reshaped. These numbers are plain Python ones here,
so that sizes are known without computing anything, and stay symbols where a graph is exported for any number of images.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from partreid.models.backbones.operations import Value

MOST_NUMBERS = 1024
"""Numbers in one list; they are shapes, axes and places."""


def _limited(numbers: list[Value]) -> list[Value]:
    if len(numbers) > MOST_NUMBERS:
        raise ValueError(f"a list of {len(numbers)} numbers; at most {MOST_NUMBERS} are allowed")
    return numbers


def _fits(number: Value) -> Value:
    if isinstance(number, int) and abs(number) >= 2**63:
        raise ValueError("a whole number of more than 64 bits")
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"the number {number}")
    return number


def as_list(value: Value) -> list[Value]:
    """A number, or a list of them, as a list."""
    if isinstance(value, Tensor):
        raise ValueError("expected numbers that the file tells, got some that it computes from images or weights")
    return list(value) if isinstance(value, list) else [value]


def as_number(value: Value) -> Value:
    """A number, also one in a list of its own."""
    (number,) = as_list(value)
    return number


def _each(function: Callable[..., Value], *values: Value) -> Value:
    """Of numbers and lists, as arrays of one axis are joined."""
    length = max((len(value) for value in values if isinstance(value, list)), default=None)
    if length is None:
        return _fits(function(*values))
    columns = [value if isinstance(value, list) else [value] for value in values]
    if any(len(column) not in (1, length) for column in columns):
        raise ValueError(f"lists of {' and '.join(str(len(column)) for column in columns)} numbers do not fit together")
    return [_fits(function(*row)) for row in zip(*(c * length if len(c) == 1 else c for c in columns), strict=True)]


def _on(function: Callable[..., Tensor], on_numbers: Callable[..., Value] | None, *values: Value) -> Value:
    like = next((value for value in values if isinstance(value, Tensor)), None)
    if like is not None:
        dtype = like.dtype
        return function(
            *(torch.tensor(v, dtype=dtype, device=like.device) if isinstance(v, list) else v for v in values)
        )
    if on_numbers is None:
        raise ValueError("expected a value that is computed from images, got plain numbers")
    return _each(on_numbers, *values)


def _quotient(a: Value, b: Value) -> Value:
    """Of whole numbers: rounded towards 0, as files mean it."""
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    return -(-a // b) if isinstance(a, int) and isinstance(b, int) and (a < 0) != (b < 0) else a // b


def add(a: Value, b: Value) -> Value:
    """a + b."""
    return _on(operator.add, operator.add, a, b)


def subtract(a: Value, b: Value) -> Value:
    """a - b."""
    return _on(operator.sub, operator.sub, a, b)


def multiply(a: Value, b: Value) -> Value:
    """a·b."""
    return _on(operator.mul, operator.mul, a, b)


def divide(a: Value, b: Value) -> Value:
    """a / b."""
    return _on(operator.truediv, _quotient, a, b)


def power(a: Value, b: Value) -> Value:
    """a to the power of b, of tensors."""
    return _on(torch.pow, None, a, b)


def _alike(a: Value, b: Value) -> list[Tensor]:
    like = a if isinstance(a, Tensor) else b
    return [torch.as_tensor(one, dtype=like.dtype, device=like.device) for one in (a, b)]


def _larger(a: Value, b: Value) -> Tensor:
    return torch.maximum(*_alike(a, b))


def _smaller(a: Value, b: Value) -> Tensor:
    return torch.minimum(*_alike(a, b))


def largest(*values: Value) -> Value:
    """The largest of each place."""
    found = values[0]
    for value in values[1:]:
        found = _on(_larger, max, found, value)
    return found


def smallest(*values: Value) -> Value:
    """The smallest of each place."""
    found = values[0]
    for value in values[1:]:
        found = _on(_smaller, min, found, value)
    return found


def rounded_down(x: Value) -> Value:
    """⌊x⌋."""
    return _on(torch.floor, math.floor, x)


def rounded_up(x: Value) -> Value:
    """⌈x⌉."""
    return _on(torch.ceil, math.ceil, x)


def negated(x: Value) -> Value:
    """-x."""
    return multiply(x, -1)


def same(x: Value) -> Value:
    """x."""
    return x


def as_whole(x: Value) -> Value:
    """Numbers without their fraction; of tensors nothing here needs that.

    Raises:
        ValueError: it is a tensor.
    """
    return _each(torch.sym_int, x if not isinstance(x, Tensor) else as_list(x))


def as_float(x: Value) -> Value:
    """Numbers with a fraction; tensors have one."""
    return x if isinstance(x, Tensor) else _each(torch.sym_float, x)


def _is_equal(a: Value, b: Value) -> int:
    return int(a == b)


def equal(a: Value, b: Value) -> Value:
    """1 where two numbers are the same, else 0; of numbers only."""
    return _each(_is_equal, *(as_list(v) if isinstance(v, Tensor) else v for v in (a, b)))


def _choice(condition: Value, a: Value, b: Value) -> Value:
    return a if condition else b


def where(condition: Value, a: Value, b: Value) -> Value:
    """a where the condition holds, else b; of numbers only."""
    return _each(_choice, *(as_list(v) if isinstance(v, Tensor) else v for v in (condition, a, b)))


def clamp(x: Value, low: Value = None, high: Value = None) -> Value:
    """x, within low and high, where they are given."""
    low, high = (None if limit is None else as_number(limit) for limit in (low, high))
    if low is None and high is None:
        return x
    if isinstance(x, Tensor):
        return torch.clamp(x, min=low, max=high)
    return smallest(x if low is None else largest(x, low), *([] if high is None else [high]))


def shape_of(x: Tensor) -> list[int]:
    """The sizes of a tensor."""
    return list(x.shape)


def reshape(x: Value, shape: Value, *, zero_copies: bool = True, each_image: bool = False) -> Value:
    """A tensor in another shape; 0 copies a size if ``zero_copies``.

    Args:
        each_image: the file was made for one image, and its first size, 1, stands for their number.
    """
    sizes = as_list(shape)
    if not isinstance(x, Tensor):
        numbers = as_list(x)
        if sizes in ([-1], [len(numbers)]):
            return numbers
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
    """Repeated along axes of size 1, and along new ones in front, until it has a shape."""
    sizes = as_list(shape)
    if not isinstance(x, Tensor):
        if len(sizes) > 1 or (sizes and isinstance(sizes[0], int) and sizes[0] > MOST_NUMBERS):
            raise ValueError(f"numbers in the shape {sizes}")
        return _each(_choice, [1] * sizes[0], x, 0) if sizes else x
    pairs = list(zip_longest(reversed(x.shape), reversed(sizes), fillvalue=1))[::-1]
    # Either side may be the 1. A size that is a symbol is compared only where it has to be.
    return x.expand([have if isinstance(want, int) and want == 1 else want for have, want in pairs])


def permute(x: Tensor, order: Value = None) -> Tensor:
    """Axes in another order; without one, reversed."""
    order = as_list([] if order is None else order)
    return x.permute(order or list(range(x.ndim))[::-1])


def squeeze(x: Value, axes: Value = None) -> Value:
    """Without the axes named, whose sizes are 1.

    Raises:
        ValueError: none are named for a tensor: a single image would lose the axis of images.
    """
    if not isinstance(x, Tensor):
        if axes in (None, 0, -1, [0], [-1]):
            return as_number(x)
        raise ValueError(f"numbers without the axes {axes}")
    if axes is None:
        raise ValueError("it names no axes")
    places = as_list(axes)
    if any(isinstance(size, int) and size != 1 for size in (x.shape[place] for place in places)):
        raise ValueError(f"an axis of {places} has not the size 1: {list(x.shape)}")
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
        return [numbers[i] for i in _limited(index)] if isinstance(index, list) else numbers[index]
    size = x.shape[axis]
    places = [place + size if place < 0 else place for place in as_list(index)]
    if any(isinstance(size, int) and not 0 <= place < size for place in places):
        raise IndexError(f"there is no place {max(places)} among {size}")
    if not isinstance(index, list):
        return x.select(axis, places[0])
    return x.index_select(axis, torch.tensor(places, device=x.device))


def concat(*values: Value, axis: int) -> Value:
    """Tensors, or lists, one behind the other."""
    if any(isinstance(value, Tensor) for value in values):
        return torch.cat(values, dim=axis)
    if axis not in (0, -1):
        raise ValueError(f"lists joined along the axis {axis}")
    return _limited([one for value in values for one in as_list(value)])


def sliced(x: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """From start to end along axes; ends beyond the last place stand for it, negative ones count from behind.

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
    """Pieces along an axis: of these sizes, of which one may be -1 for the rest; or a number of equal ones."""
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
    """A list of the same number."""
    (length,) = as_list(shape) or [None]
    if length is None:
        return value
    if length < 0 or length > MOST_NUMBERS:
        raise ValueError(f"a list of {length} numbers; at most {MOST_NUMBERS} are allowed")
    return [value] * length
