"""Operations of network files whose operands may be tensors, numbers or lists of numbers: arithmetic.

Files compute with sizes: for example, the shape of one value decides how another is reshaped. Here these numbers are
plain Python numbers. So sizes are known without computing tensors, and they can stay symbols when a graph is exported
for any number of images.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor

from partreid.models.backbones.operations import Value

MOST_NUMBERS = 1024
"""Most numbers in one list. Such lists are shapes, axes and positions."""


def limited(numbers: list[Value]) -> list[Value]:
    """The list, which must be short."""
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


def each(function: Callable[..., Value], *values: Value) -> Value:
    """Apply a function to numbers and lists, with the broadcasting of arrays with one axis."""
    if any(isinstance(one, list) for value in values if isinstance(value, list) for one in value):
        raise ValueError("arithmetic with rows of numbers is not supported")  # and [1] * 10**9 is no product
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
    return each(on_numbers, *values)


def _quotient(a: Value, b: Value) -> Value:
    """Division; of whole numbers it is rounded towards 0, as in network files."""
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
    """Numbers without their fraction. Tensors are refused, because no supported network needs it.

    Raises:
        ValueError: it is a tensor.
    """
    return each(torch.sym_int, x if not isinstance(x, Tensor) else as_list(x))


def as_float(x: Value) -> Value:
    """Numbers with a fraction; tensors have one."""
    return x if isinstance(x, Tensor) else each(torch.sym_float, x)


def _is_equal(a: Value, b: Value) -> int:
    return int(a == b)


def equal(a: Value, b: Value) -> Value:
    """1 where two numbers are the same, else 0; of numbers only."""
    return each(_is_equal, *(as_list(v) if isinstance(v, Tensor) else v for v in (a, b)))


def choice(condition: Value, a: Value, b: Value) -> Value:
    """One of two numbers."""
    return a if condition else b


def where(condition: Value, a: Value, b: Value) -> Value:
    """a where the condition holds, else b; of numbers only."""
    return each(choice, *(as_list(v) if isinstance(v, Tensor) else v for v in (condition, a, b)))


def clamp(x: Value, low: Value = None, high: Value = None) -> Value:
    """x, limited to low and high if they are given."""
    low, high = (None if limit is None else as_number(limit) for limit in (low, high))
    if low is None and high is None:
        return x
    if isinstance(x, Tensor):
        return torch.clamp(x, min=low, max=high)
    return smallest(x if low is None else largest(x, low), *([] if high is None else [high]))
