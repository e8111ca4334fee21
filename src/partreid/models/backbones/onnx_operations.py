"""ONNX's operations of CNN backbones, as ``torch.onnx.export`` writes them: attributes → function that computes them.

Their meaning: onnx.ai/onnx/operators. An attribute or mode that is not computed exactly is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.models.backbones import file_numbers as num
from partreid.models.backbones import file_shapes as shapes
from partreid.models.backbones import operations as op
from partreid.models.backbones import resizing
from partreid.models.backbones.file_reading import Attributes, Call, Operation
from partreid.models.backbones.operations import Value

OPSETS = range(7, 24)
"""Versions of ONNX's operation set whose operations are known to be computed correctly here."""


def _pads(a: Attributes) -> op.Pads:
    auto = a.one_of("auto_pad", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"), "NOTSET")
    pads = a.integers("pads", ())
    if auto.startswith("SAME"):
        return "upper" if auto == "SAME_UPPER" else "lower"
    if pads and min(pads) < 0:
        raise ValueError(f"pads = {list(pads)}")
    return () if auto == "VALID" else pads


def _conv(a: Attributes) -> Call:
    a.ignore("kernel_shape")  # that of the weights
    groups = a.integer("group", 1)
    if not 1 <= groups < 2**31:
        raise ValueError(f"group = {groups}")
    return partial(
        op.convolution, stride=a.positive("strides"), dilation=a.positive("dilations"), pads=_pads(a), groups=groups
    )


def _window(a: Attributes) -> dict[str, Any]:
    return {
        "kernel": a.positive("kernel_shape"), "stride": a.positive("strides"), "pads": _pads(a),
        "ceil": a.flag("ceil_mode", 0),
    }  # fmt: skip


def _max_pool(a: Attributes) -> Call:
    a.ignore("storage_order")  # of the second answer
    return partial(op.max_pool, **_window(a), dilation=a.positive("dilations"))


def _average_pool(a: Attributes) -> Call:
    if any(one != 1 for one in a.integers("dilations", ())):
        raise ValueError("dilated means are not supported")
    return partial(op.average_pool, **_window(a), count_pads=a.flag("count_include_pad", 0))


def _batch_norm(a: Attributes) -> Call:
    a.one_of("training_mode", (0,), 0)
    a.one_of("spatial", (1,), 1)
    a.ignore("momentum")
    return partial(op.batch_norm, eps=a.number("epsilon", 1e-5))


def _group_norm(a: Attributes) -> Call:
    a.one_of("stash_type", (1,), 1)
    return partial(
        op.group_norm, groups=a.integer("num_groups"), eps=a.number("epsilon", 1e-5), by_group=a.version < 21
    )


def _layer_norm(a: Attributes) -> Call:
    a.one_of("stash_type", (1,), 1)
    return partial(op.layer_norm, axis=a.integer("axis", -1), eps=a.number("epsilon", 1e-5))


def _gemm(a: Attributes) -> Call:
    return partial(
        op.gemm, alpha=a.number("alpha", 1.0), beta=a.number("beta", 1.0), trans_a=a.flag("transA", 0),
        trans_b=a.flag("transB", 0),
    )  # fmt: skip


def _reduced(how: str) -> Callable[[Attributes], Call]:
    def build(a: Attributes) -> Call:
        a.one_of("noop_with_empty_axes", (0,), 0)
        keep, axes = a.flag("keepdims", 1), list(a.integers("axes", ()))
        return partial(_reduce, how=how, keep=keep, told=axes or None)

    return build


def _reduce(x: Tensor, axes: list[int] | None = None, *, how: str, keep: bool, told: list[int] | None) -> Tensor:
    """Axes are an attribute (``told``) or, in newer files, an input. Without axes, all axes are meant."""
    return op.reduce(x, axes or told, how=how, keep=keep)


def _softmax(a: Attributes) -> Call:
    if a.version < 13:
        return partial(op.softmax_of_rest, axis=a.integer("axis", 1))
    return partial(op.softmax, axis=a.integer("axis", -1))


def _clip(a: Attributes) -> Call:
    low, high = a.take("min", None), a.take("max", None)
    return partial(_clipped, told=(low, high)) if low is not None or high is not None else num.clamp


def _clipped(x: Value, *, told: tuple[float | None, float | None]) -> Value:
    return num.clamp(x, *told)


def _gelu(a: Attributes) -> Call:
    return partial(F.gelu, approximate=a.one_of("approximate", ("none", "tanh"), "none"))


def _hard_sigmoid(a: Attributes) -> Call:
    return partial(op.hard_sigmoid, alpha=a.number("alpha", 0.2), beta=a.number("beta", 0.5))


def _axes(function: Call) -> Callable[[Attributes], Call]:
    """For an operation whose axes are an attribute before operation set 13, and an input from then on."""

    def build(a: Attributes) -> Call:
        axes = list(a.integers("axes", ()))
        return partial(function, axes=axes) if axes else function

    return build


def _split(a: Attributes) -> Call:
    number, sizes = a.integer("num_outputs", a.outputs), a.integers("split", ())
    return partial(_pieces, axis=a.integer("axis", 0), told=list(sizes), number=number)


def _pieces(x: Value, sizes: Value = None, *, axis: int, told: list[int], number: int) -> Any:
    return shapes.parts(x, axis, sizes or told, number=number)


def _slice(a: Attributes) -> Call:
    if a.version >= 10:
        return shapes.sliced
    axes = a.integers("axes", ())
    return partial(_cut, starts=list(a.integers("starts")), ends=list(a.integers("ends")), axes=list(axes) or None)


def _cut(x: Value, *, starts: list[int], ends: list[int], axes: list[int] | None) -> Value:
    return shapes.sliced(x, starts, ends, axes)


def _shape(a: Attributes) -> Call:
    start, end = a.integer("start", 0), a.take("end", None)
    return partial(_shape_between, start=start, end=end) if start or end is not None else shapes.shape_of


def _shape_between(x: Tensor, *, start: int, end: int | None) -> list[int]:
    return shapes.shape_of(x)[start:end]


def _cast(a: Attributes) -> Call:
    a.ignore("saturate", "round_mode")  # of eight-bit floats
    return num.as_float if a.one_of("to", (1, 10, 11, 6, 7)) in (1, 10, 11) else num.as_whole


def _filled(a: Attributes) -> Call:
    value = a.take("value", None)
    if value is None or value.kind not in ("<i4", "<i8") or value.shape not in ((), (1,)):
        raise ValueError("its value is no single whole number, which alone is supported")
    return partial(shapes.filled, value=int(value.read().reshape(-1)[0]))


def _dropout(a: Attributes) -> Call:
    a.ignore("ratio", "seed")
    return _not_dropped


def _not_dropped(x: Value, ratio: Value = None, training: Value = None) -> Value:
    if training:
        raise ValueError("it was written for training, which is not supported")
    return x


def _pad(a: Attributes) -> Call:
    mode = a.one_of("mode", ("constant", "reflect", "edge"), "constant")
    mode = "replicate" if mode == "edge" else mode
    if a.version >= 11:
        return partial(_padded, mode=mode)
    return partial(_padded, pads=list(a.integers("pads")), value=a.number("value", 0.0), mode=mode)


def _padded(x: Tensor, pads: Value, value: Value = None, axes: Value = None, *, mode: str) -> Tensor:
    pads, value = num.as_list(pads), None if value in (None, []) else num.as_number(value)
    half = len(pads) // 2
    places = list(range(half)) if axes is None else [i + x.ndim if i < 0 else i for i in num.as_list(axes)]
    if len(pads) != 2 * len(places) or len(set(places)) != len(places) or any(not 0 <= i < x.ndim for i in places):
        raise ValueError(f"padding of {len(pads)} numbers for the axes {places}")
    before, after = [0] * x.ndim, [0] * x.ndim
    for index, place in enumerate(places):
        before[place], after[place] = pads[index], pads[half + index]
    return resizing.pad(x, before, after, value, mode=mode)


def _resize(a: Attributes) -> Call:
    mode = a.one_of("mode", ("nearest", "linear"), "nearest")
    a.one_of("antialias", (0,), 0)
    a.one_of("exclude_outside", (0,), 0)
    a.one_of("keep_aspect_ratio_policy", ("stretch",), "stretch")
    a.ignore("cubic_coeff_a", "extrapolation_value")  # of modes that are refused
    if a.version < 11:
        if mode == "linear":
            raise ValueError("mode = 'linear' before operation set 11 is not supported")
        scales = a.take("scales", None)
        return partial(_resized_before_11, mode=mode, told=scales)
    allowed = ("half_pixel", "pytorch_half_pixel", "align_corners") + (("asymmetric",) if mode == "nearest" else ())
    coordinates = a.one_of("coordinate_transformation_mode", allowed, "half_pixel")
    rounding = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    nearest = a.one_of("nearest_mode", rounding, "round_prefer_floor")
    return partial(_resized, mode=mode, coordinates=coordinates, nearest=nearest)


def _resized_before_11(x: Tensor, scales: Value = None, *, mode: str, told: Value) -> Tensor:
    return _resized(x, None, scales or told, mode=mode, coordinates="asymmetric", nearest="floor")


def _resized(
    x: Tensor, region: Value = None, scales: Value = None, sizes: Value = None, *, mode: str, **how: str
) -> Tensor:
    """Resize height and width by the scales, or to the sizes. The axes of images and channels stay."""
    told = num.as_list(sizes or scales)
    if x.ndim != 4 or len(told) != 4:
        raise ValueError(f"expected a map and four scales or sizes, got {x.ndim} dimensions and {told}")
    if sizes:
        same, size = told[1] == x.shape[1], told[2:]
    else:
        size = resizing.scaled(x, told[2:], exactly=mode == "nearest")
        same = told[:2] == [1, 1]
    if not same:
        raise ValueError(f"images or channels would be resized: {told}")
    return resizing.resize(x, size, mode=mode, **how)


def _plain(function: Call) -> Operation:
    return Operation(lambda a: function)


OPERATIONS: dict[str, Operation] = {
    "Conv": Operation(_conv, learned=True),
    "Gemm": Operation(_gemm, learned=True),
    "MatMul": Operation(lambda a: op.matmul, learned=True),
    "PRelu": Operation(lambda a: op.prelu, learned=True),
    "BatchNormalization": Operation(_batch_norm, learned=True, statistics=(3, 4)),
    "InstanceNormalization": Operation(
        lambda a: partial(op.instance_norm, eps=a.number("epsilon", 1e-5)), learned=True
    ),
    "LayerNormalization": Operation(_layer_norm, learned=True),
    "GroupNormalization": Operation(_group_norm, learned=True),
    "MaxPool": Operation(_max_pool),
    "AveragePool": Operation(_average_pool),
    "GlobalAveragePool": _plain(op.global_mean),
    "GlobalMaxPool": _plain(op.global_max),
    "ReduceMean": Operation(_reduced("mean"), numbers=(1,)),
    "ReduceSum": Operation(_reduced("sum"), numbers=(1,)),
    "ReduceL2": Operation(_reduced("norm"), numbers=(1,)),
    "ReduceMax": Operation(_reduced("amax"), numbers=(1,)),
    "ReduceMin": Operation(_reduced("amin"), numbers=(1,)),
    "Relu": _plain(torch.relu),
    "LeakyRelu": Operation(lambda a: partial(F.leaky_relu, negative_slope=a.number("alpha", 0.01))),
    "Elu": Operation(lambda a: partial(F.elu, alpha=a.number("alpha", 1.0))),
    "Clip": Operation(_clip, numbers=(1, 2)),
    "Sigmoid": _plain(torch.sigmoid),
    "HardSigmoid": Operation(_hard_sigmoid),
    "HardSwish": _plain(F.hardswish),
    "Mish": _plain(F.mish),
    "Softplus": _plain(F.softplus),
    "Tanh": _plain(torch.tanh),
    "Erf": _plain(torch.erf),
    "Gelu": Operation(_gelu),
    "Softmax": Operation(_softmax),
    "Exp": _plain(torch.exp),
    "Log": _plain(torch.log),
    "Sqrt": _plain(torch.sqrt),
    "Reciprocal": _plain(torch.reciprocal),
    "Abs": _plain(torch.abs),
    "Neg": _plain(num.negated),
    "Floor": _plain(num.rounded_down),
    "Ceil": _plain(num.rounded_up),
    "Add": _plain(num.add),
    "Sub": _plain(num.subtract),
    "Mul": _plain(num.multiply),
    "Div": _plain(num.divide),
    "Pow": _plain(num.power),
    "Max": _plain(num.largest),
    "Min": _plain(num.smallest),
    "Equal": _plain(num.equal),
    "Where": _plain(num.where),
    "Identity": _plain(num.same),
    "Dropout": Operation(_dropout, numbers=(1, 2)),
    "Cast": Operation(_cast),
    "Flatten": Operation(lambda a: partial(op.flatten_from, axis=a.integer("axis", 1))),
    "Reshape": Operation(lambda a: partial(shapes.reshape, zero_copies=not a.flag("allowzero", 0)), numbers=(1,)),
    "Transpose": Operation(lambda a: partial(shapes.permute, order=list(a.integers("perm", ())))),
    "Squeeze": Operation(_axes(shapes.squeeze), numbers=(1,)),
    "Unsqueeze": Operation(_axes(shapes.unsqueeze), numbers=(1,)),
    "Concat": Operation(lambda a: partial(shapes.concat, axis=a.integer("axis"))),
    "Split": Operation(_split, numbers=(1,), pieces=True),
    "Slice": Operation(_slice, numbers=(1, 2, 3, 4)),
    "Gather": Operation(lambda a: partial(shapes.gather, axis=a.integer("axis", 0)), numbers=(1,)),
    "Shape": Operation(_shape),
    "ConstantOfShape": Operation(_filled, numbers=(0,)),
    "Expand": Operation(lambda a: shapes.expand, numbers=(1,)),
    "Pad": Operation(_pad, numbers=(1, 2, 3)),
    "Resize": Operation(_resize, numbers=(1, 2, 3)),
    "Upsample": Operation(_resize, numbers=(1,)),
}
"""Operations by their name in the file."""
