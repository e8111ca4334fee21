"""A PyTorch network that OpenVINO runs without a file in between. On CPUs it is several times as quick."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from partreid.errors import ExportError, needs_extra
from partreid.runtime import Arithmetic

Run: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]
"""A function from float32 images [B, 3, H, W] to the network's outputs, float32, on the CPU."""

PIECE = 16
"""The batch size for which the network is compiled. A batch is cut into pieces of this size; the last one is padded."""

_FARTHEST = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far an output may be from PyTorch's in float32: the length of their difference over that of the output."""


def run_by_openvino(network: nn.Module, images: Tensor, *, arithmetic: Arithmetic) -> Run:
    """Let OpenVINO compute a network, once it has been compared with PyTorch on these images.

    Args:
        network: in evaluation mode, on the CPU; its output is a tuple of tensors.
        images: normalised float32 [B, 3, H, W], some of those that it will see; at least 1.
        arithmetic: "float32", or "bfloat16" on CPUs with matrix units for it.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ExportError: OpenVINO cannot convert the network, or its outputs differ from PyTorch's.
    """
    with needs_extra("openvino", "Running a network by OpenVINO"):
        import openvino
    example = _filled(images[:PIECE])
    # Errors of PyTorch's tracer and of the converter can have any type.
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = openvino.convert_model(torch.export.export(network, (example,)))
            model.reshape({model.inputs[0]: list(example.shape)})
            compiled = openvino.Core().compile_model(model, "CPU", {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": "bf16" if arithmetic == "bfloat16" else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            })  # fmt: skip
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ExportError(f"OpenVINO cannot run this network: {said:.200}") from None
    run = _Requests(compiled)
    with torch.no_grad():
        expected = network(example)
    for number, (one, other) in enumerate(zip(run(example), expected, strict=True)):
        apart = float((one - other).norm() / other.norm().clamp(min=1e-12))
        if not apart <= _FARTHEST[arithmetic]:
            raise ExportError(
                f"OpenVINO's output {number} of this network in {arithmetic} is {apart:.2g} of its length away from "
                f"PyTorch's; expected at most {_FARTHEST[arithmetic]:g}."
            )
    return run


def _filled(images: Tensor) -> Tensor:
    """``PIECE`` images. If there are fewer, the last one is repeated."""
    images = images.contiguous()
    return torch.cat([images, images[-1:].expand(PIECE - len(images), -1, -1, -1)]).contiguous()


class _Requests:
    """A compiled network whose streams divide a batch."""

    def __init__(self, compiled: Any) -> None:
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(count)]
        self._outputs = len(compiled.outputs)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        pieces = [_filled(images[start : start + PIECE]) for start in range(0, len(images), PIECE)]
        results = []
        for index, piece in enumerate(pieces):
            request = self._requests[index % len(self._requests)]
            if index >= len(self._requests):
                results.append(self._result(request))
            request.start_async({0: piece.numpy()})
        for index in range(len(results), len(pieces)):
            results.append(self._result(self._requests[index % len(self._requests)]))
        return tuple(torch.cat(parts)[: len(images)] for parts in zip(*results, strict=True))

    def _result(self, request: Any) -> list[Tensor]:
        request.wait()
        return [torch.tensor(request.get_output_tensor(i).data).float() for i in range(self._outputs)]
