"""OpenVINO's operations of CNN backbones: attributes → function that computes them.

Their meaning: OpenVINO's operation sets, docs.openvino.ai. An attribute or mode that is not computed exactly is refused
by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

NEWEST_OPSET = 16
"""Operation sets whose operations are known to be computed correctly here."""


def _pads(a: Attributes) -> op.Pads:
    auto = a.one_of("auto_pad", ("explicit", "notset", "valid", "same_upper", "same_lower"), "explicit")
    begin, end = a.integers("pads_begin", ()), a.integers("pads_end", ())
    if auto.startswith("same"):
        return auto.removeprefix("same_")  # type: ignore[no-any-return]
    if min((*begin, *end), default=0) < 0 or len(begin) != len(end):
        raise ValueError(f"pads_begin = {list(begin)}, pads_end = {list(end)}")
    return () if auto == "valid" else (*begin, *end)


def _convolution(function: Call) -> Callable[[Attributes], Call]:
    return lambda a: partial(function, stride=a.positive("strides"), dilation=a.positive("dilations"), pads=_pads(a))


def _window(a: Attributes) -> dict[str, Any]:
    return {
        "kernel": a.positive("kernel"), "stride": a.positive("strides"), "pads": _pads(a),
        "ceil": a.one_of("rounding_type", ("floor", "ceil", "ceil_torch"), "floor") != "floor",
    }  # fmt: skip


def _max_pool(a: Attributes) -> Call:
    a.ignore("index_element_type", "axis")  # of the second answer
    return partial(op.max_pool, **_window(a), dilation=a.positive("dilations"))


def _average_pool(a: Attributes) -> Call:
    return partial(op.average_pool, **_window(a), count_pads=not a.flag("exclude-pad"))


def _mean_variance_norm(a: Attributes) -> Call:
    a.one_of("normalize_variance", ("true", "1"))
    a.one_of("eps_mode", ("INSIDE_SQRT", "inside_sqrt"))
    return partial(op.mean_variance_norm, eps=a.number("eps"))


def _batch_norm(a: Attributes) -> Call:
    function = op.batch_norm if a.version >= 5 else _data_third
    return partial(function, eps=a.number("epsilon"))


def _data_third(weight: Tensor, bias: Tensor, x: Tensor, mean: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    return op.batch_norm(x, weight, bias, mean, variance, eps=eps)


def _group_norm(a: Attributes) -> Call:
    return partial(op.group_norm, groups=a.integer("num_groups"), eps=a.number("epsilon"))


def _reduced(how: str) -> Operation:
    return Operation(lambda a: partial(op.reduce, how=how, keep=a.flag("keep_dims", False)), numbers=(1,))


def _broadcast(function: Call) -> Operation:
    def build(a: Attributes) -> Call:
        a.one_of("auto_broadcast", ("numpy",), "numpy")
        a.ignore("m_pythondiv")  # of whole numbers
        return function

    return Operation(build)


def _squared_difference(a: Value, b: Value) -> Value:
    difference = num.subtract(a, b)
    return num.multiply(difference, difference)


def _gelu(a: Attributes) -> Call:
    mode = a.one_of("approximation_mode", ("ERF", "erf", "TANH", "tanh"), "ERF").lower()
    return partial(F.gelu, approximate="none" if mode == "erf" else mode)


def _matmul(a: Attributes) -> Call:
    return partial(op.matmul, transpose_a=a.flag("transpose_a", False), transpose_b=a.flag("transpose_b", False))


def _normalize(a: Attributes) -> Call:
    largest = a.one_of("eps_mode", ("add", "max")) == "max"
    return partial(op.normalize_l2, eps=a.number("eps"), largest=largest)


def _gather(a: Attributes) -> Call:
    a.one_of("batch_dims", ("0",), "0")
    return shapes.gather


def _convert(a: Attributes) -> Call:
    kind = a.one_of("destination_type", ("f16", "f32", "f64", "i32", "i64"))
    return num.as_float if kind.startswith("f") else num.as_whole


def _expand(a: Attributes) -> Call:
    a.one_of("mode", ("numpy", "bidirectional"), "numpy")
    return shapes.expand


def _shape(a: Attributes) -> Call:
    a.ignore("output_type")
    return shapes.shape_of


def _squeeze(a: Attributes) -> Call:
    a.one_of("allow_axis_skip", ("false",), "false")
    return shapes.squeeze


def _pad(a: Attributes) -> Call:
    mode = a.one_of("pad_mode", ("constant", "reflect", "edge"))
    return partial(_padded, mode="replicate" if mode == "edge" else mode)


def _padded(x: Tensor, before: Value, after: Value, value: Value = None, *, mode: str) -> Tensor:
    value = None if value is None else num.as_number(value)
    return resizing.pad(x, num.as_list(before), num.as_list(after), value, mode=mode)


def _pieces(a: Attributes) -> Call:
    return partial(shapes.parts, number=a.integer("num_splits"))


def _strided_slice(a: Attributes) -> Call:
    for name in ("new_axis_mask", "shrink_axis_mask", "ellipsis_mask"):
        if any(a.integers(name, ())):
            raise ValueError(f"{name} is not supported")
    return partial(_strided, first=a.integers("begin_mask"), last=a.integers("end_mask"))


def _strided(
    x: Value, begin: Value, end: Value, steps: Value = None, *, first: Sequence[int], last: Sequence[int]
) -> Value:  # fmt: skip
    """Where a mask is 1, a slice begins at the first position, or ends after the last."""
    starts = [0 if i < len(first) and first[i] else at for i, at in enumerate(num.as_list(begin))]
    ends = [2**31 if i < len(last) and last[i] else at for i, at in enumerate(num.as_list(end))]
    return shapes.sliced(x, starts, ends, None, steps)


def _slice(x: Value, starts: Value, ends: Value, steps: Value, axes: Value = None) -> Value:
    return shapes.sliced(x, starts, ends, axes, steps)


def _interpolate(a: Attributes) -> Call:
    if a.version < 4:
        raise ValueError("Interpolate of an operation set before 4 is not supported")
    mode = a.one_of("mode", ("nearest", "linear_onnx")).removesuffix("_onnx")
    by_scales = a.one_of("shape_calculation_mode", ("sizes", "scales")) == "scales"
    allowed = ("half_pixel", "pytorch_half_pixel", "align_corners") + (("asymmetric",) if mode == "nearest" else ())
    coordinates = a.one_of("coordinate_transformation_mode", allowed, "half_pixel")
    rounding = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    nearest = a.one_of("nearest_mode", rounding, "round_prefer_floor")
    a.one_of("antialias", ("false",), "false")
    a.ignore("cube_coeff")
    if any(a.integers("pads_begin", ())) or any(a.integers("pads_end", ())):
        raise ValueError("pads_begin and pads_end are not supported")
    function = _resized if a.version >= 11 else _resized_before_11
    return partial(function, by_scales=by_scales, mode=mode, coordinates=coordinates, nearest=nearest)


def _resized_before_11(
    x: Tensor, sizes: Value, scales: Value, axes: Value = None, *, by_scales: bool, **how: str
) -> Tensor:  # fmt: skip
    return _resized(x, scales if by_scales else sizes, axes, by_scales=by_scales, **how)


def _resized(x: Tensor, told: Value, axes: Value = None, *, by_scales: bool, **how: str) -> Tensor:
    """Resize height and width by scales, or to sizes. Other axes stay."""
    if x.ndim != 4:
        raise ValueError(f"expected a map, got {x.ndim} dimensions")
    told = num.as_list(told)
    places = list(range(len(told))) if axes is None else num.as_list(axes)
    by_axis = dict(zip((place + 4 if place < 0 else place for place in places), told, strict=True))
    if any(by_axis.get(axis, 1) != (1 if by_scales else x.shape[axis]) for axis in (0, 1) if axis in by_axis):
        raise ValueError(f"images or channels would be resized: {told}")
    if by_scales:
        size = resizing.scaled(x, [by_axis.get(axis, 1.0) for axis in (2, 3)], exactly=how["mode"] == "nearest")
    else:
        size = [by_axis.get(axis, x.shape[axis]) for axis in (2, 3)]
    return resizing.resize(x, size, **how)


def _plain(function: Call) -> Operation:
    return Operation(lambda a: function)


OPERATIONS: dict[str, Operation] = {
    "Convolution": Operation(_convolution(op.convolution), learned=True),
    "GroupConvolution": Operation(_convolution(op.grouped_convolution), learned=True),
    "MatMul": Operation(_matmul, learned=True),
    "PReLU": Operation(lambda a: op.channel_prelu, learned=True),
    "BatchNormInference": Operation(_batch_norm, learned=True, statistics=(3, 4)),
    "GroupNormalization": Operation(_group_norm, learned=True),
    "MVN": Operation(_mean_variance_norm, numbers=(1,)),
    "NormalizeL2": Operation(_normalize, numbers=(1,)),
    "MaxPool": Operation(_max_pool),
    "AvgPool": Operation(_average_pool),
    "ReduceMean": _reduced("mean"),
    "ReduceSum": _reduced("sum"),
    "ReduceMax": _reduced("amax"),
    "ReduceMin": _reduced("amin"),
    "ReduceL2": _reduced("norm"),
    "Add": _broadcast(num.add),
    "Subtract": _broadcast(num.subtract),
    "Multiply": _broadcast(num.multiply),
    "Divide": _broadcast(num.divide),
    "Power": _broadcast(num.power),
    "Maximum": _broadcast(num.largest),
    "Minimum": _broadcast(num.smallest),
    "SquaredDifference": _broadcast(_squared_difference),
    "ReLU": _plain(torch.relu),
    "Elu": Operation(lambda a: partial(F.elu, alpha=a.number("alpha"))),
    "Sigmoid": _plain(torch.sigmoid),
    "HardSigmoid": Operation(lambda a: op.hard_sigmoid, numbers=(1, 2)),
    "HSigmoid": _plain(F.hardsigmoid),
    "HSwish": _plain(F.hardswish),
    "Swish": Operation(lambda a: op.swish, numbers=(1,)),
    "Mish": _plain(F.mish),
    "SoftPlus": _plain(F.softplus),
    "Tanh": _plain(torch.tanh),
    "Erf": _plain(torch.erf),
    "Gelu": Operation(_gelu),
    "Clamp": Operation(lambda a: partial(torch.clamp, min=a.number("min"), max=a.number("max"))),
    "SoftMax": Operation(lambda a: partial(op.softmax, axis=a.integer("axis", 1))),
    "Exp": _plain(torch.exp),
    "Log": _plain(torch.log),
    "Sqrt": _plain(torch.sqrt),
    "Abs": _plain(torch.abs),
    "Negative": _plain(num.negated),
    "Floor": _plain(num.rounded_down),
    "Ceiling": _plain(num.rounded_up),
    "Convert": Operation(_convert),
    "Reshape": Operation(lambda a: partial(shapes.reshape, zero_copies=a.flag("special_zero", False)), numbers=(1,)),
    "Transpose": Operation(lambda a: shapes.permute, numbers=(1,)),
    "Squeeze": Operation(_squeeze, numbers=(1,)),
    "Unsqueeze": _plain(shapes.unsqueeze),
    "ShapeOf": Operation(_shape),
    "Gather": Operation(_gather, numbers=(1, 2)),
    "Concat": Operation(lambda a: partial(shapes.concat, axis=a.integer("axis"))),
    "Split": Operation(_pieces, numbers=(1,), pieces=True),
    "VariadicSplit": Operation(lambda a: shapes.parts, numbers=(1, 2), pieces=True),
    "StridedSlice": Operation(_strided_slice, numbers=(1, 2, 3)),
    "Slice": Operation(lambda a: _slice, numbers=(1, 2, 3, 4)),
    "Broadcast": Operation(_expand, numbers=(1,)),
    "Pad": Operation(_pad, numbers=(1, 2, 3)),
    "Interpolate": Operation(_interpolate, numbers=(1, 2, 3)),
}
"""Operations by the layer's type."""
