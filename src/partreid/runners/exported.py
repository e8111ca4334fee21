"""Exported files for PartExtractor. onnxruntime or OpenVINO runs them: extras, which are imported with the first file.

``partreid export`` writes such files (docs/export.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from partreid.errors import CheckpointError, ConfigError, needs_extra
from partreid.files import nameable
from partreid.runners._export_info import INPUT, METADATA_KEY, OUTPUTS, ExportInfo, check_seal
from partreid.runners._quickest import milliseconds
from partreid.runners.runner import PoseInput
from partreid.runtime import RuntimeConfig
from partreid.surroundings import cache_folder
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

Arrays: TypeAlias = tuple[np.ndarray, ...]


class OnnxSession:
    """An ``.onnx`` file in onnxruntime. Arguments and errors as for ``ExportedRunner``."""

    def __init__(self, path: Path, runtime: RuntimeConfig) -> None:
        with needs_extra("export", f"Running {path}"):
            import onnxruntime
        kind, _, number = runtime.device.partition(":")
        if kind == "auto":
            usable = torch.cuda.is_available() and _PROVIDERS["cuda"] in onnxruntime.get_available_providers()
            kind = "cuda" if usable else "cpu"
        _check_onnx(path, kind, runtime, onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # a limit on PyTorch's threads applies here too
        options.log_severity_level = 3
        with _damaged(path, "onnxruntime"):
            # Open the file on the CPU first, because TensorRT must be told the size of the images.
            session = onnxruntime.InferenceSession(str(path), options, providers=[_PROVIDERS["cpu"]])
        metadata = session.get_modelmeta().custom_metadata_map
        self.info = _info(metadata.get(METADATA_KEY), path)
        self.device = torch.device("cpu")
        if kind != "cpu":
            self.device = torch.device("cuda", int(number or 0))
            providers = _gpu_providers(kind, self.device.index, runtime, self.info)
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
            if _PROVIDERS[kind] not in session.get_providers():
                raise ConfigError(f"onnxruntime cannot use device {runtime.device!r} here. Check CUDA, or take cpu.")
        self._session = session
        self._input = session.get_inputs()[0].name  # "pictures" in files of former versions
        self.precision = "float32" if runtime.precision == "auto" else runtime.precision
        self.milliseconds: dict[str, float] = {}

    def __call__(self, pixels: np.ndarray) -> Arrays:
        """uint8 [B, H, W, 3] → vectors, visibility, attention."""
        return tuple(self._session.run(list(OUTPUTS), {self._input: pixels}))


_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


def _check_onnx(path: Path, kind: str, runtime: RuntimeConfig, available: Sequence[str]) -> None:
    if kind not in _PROVIDERS:
        raise ConfigError(f"An ONNX file runs on {', '.join(_PROVIDERS)}; got device {runtime.device!r}.")
    if _PROVIDERS[kind] not in available:
        raise ConfigError(
            f"This onnxruntime has no {_PROVIDERS[kind]}, which device {runtime.device!r} needs. Install "
            "onnxruntime-gpu in its place, or take cpu."
        )
    if kind != "tensorrt" and runtime.precision not in ("auto", "float32"):
        raise ConfigError(
            f"onnxruntime computes as {path} says, not in {runtime.precision}. Leave the precision at auto, or export "
            "to openvino with --bf16."
        )


def _gpu_providers(kind: str, index: int, runtime: RuntimeConfig, info: ExportInfo) -> list[Any]:
    """The providers that onnxruntime tries, in order, with their options."""
    # TF32 would change embeddings in the fourth digit, so that they would differ from those of other machines.
    cuda = [(_PROVIDERS["cuda"], {"device_id": index, "use_tf32": 0}), _PROVIDERS["cpu"]]
    if kind == "cuda":
        return cuda
    height, width = info.preprocess.size
    most = f"{INPUT}:{runtime.batch_size}x{height}x{width}x3"
    options = {
        "device_id": index,
        "trt_fp16_enable": runtime.precision == "float16",
        "trt_bf16_enable": runtime.precision == "bfloat16",
        # Without a range of shapes, each new batch size would build an engine again, which takes minutes.
        "trt_profile_min_shapes": f"{INPUT}:1x{height}x{width}x3",
        "trt_profile_opt_shapes": most,
        "trt_profile_max_shapes": most,
        "trt_engine_cache_enable": True,
        # TensorRT recognises engines by the names in the graph, and would use an engine with other weights.
        "trt_engine_cache_path": str(cache_folder() / "tensorrt" / info.content.rpartition(":")[2][:16]),
    }
    return [(_PROVIDERS["tensorrt"], options), *cuda]


class OpenVinoSession:
    """An ``.xml`` and ``.bin`` file in OpenVINO. Arguments and errors as for ``ExportedRunner``."""

    def __init__(self, path: Path, runtime: RuntimeConfig) -> None:
        with needs_extra("export", f"Running {path}"):
            import openvino
        if runtime.device not in ("auto", "cpu"):
            raise ConfigError(f"An OpenVINO file runs on the CPU; got {runtime.device!r}. For a GPU export to onnx.")
        core = openvino.Core()
        with _damaged(path, "OpenVINO"):
            model = core.read_model(path)
        known = model.has_rt_info([METADATA_KEY])
        self.info = _info(model.get_rt_info([METADATA_KEY]).astype(str) if known else None, path)
        self.device = torch.device("cpu")
        named = self.info.precision if runtime.precision == "auto" else runtime.precision
        # --bf16 at the export allows bfloat16, and float32 is closer to the model. So the quicker one is used.
        allowed = ("bfloat16", "float32") if (runtime.precision, named) == ("auto", "bfloat16") else (named,)
        with _damaged(path, "OpenVINO"):
            compiled = {precision: _Compiled(core, model, precision) for precision in allowed}
            self.milliseconds: dict[str, float] = {}
            if len(allowed) > 1:
                shape = (_TRIED, *self.info.preprocess.size, 3)
                images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
                ways = {precision: partial(one, images) for precision, one in compiled.items()}
                found = milliseconds(ways, of=f"{self.info.content} OpenVINO {openvino.__version__}")
                self.milliseconds = {precision: spent / _TRIED for precision, spent in found.items()}
        self.precision: str = min(allowed, key=lambda precision: self.milliseconds.get(precision, 0.0))
        self._run = compiled[self.precision]

    def __call__(self, pixels: np.ndarray) -> Arrays:
        """uint8 [B, H, W, 3] → vectors, visibility, attention."""
        return self._run(pixels)


class _Compiled:
    """A model that OpenVINO compiled for an arithmetic."""

    def __init__(self, core: Any, model: Any, precision: str) -> None:
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            # Without this hint OpenVINO uses bfloat16 if the processor has it, and vectors would differ by machine.
            "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        compiled = core.compile_model(model, "CPU", settings)
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def __call__(self, pixels: np.ndarray) -> Arrays:
        """uint8 [B, H, W, 3] → vectors, visibility, attention. The streams divide the batch."""
        size = min(_PIECE, -(-len(pixels) // len(self._requests)))
        pieces = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        results: list[Arrays] = []
        for index, piece in enumerate(pieces):
            request = self._requests[index % len(self._requests)]
            if index >= len(self._requests):
                results.append(_outputs(request))
            request.start_async({0: piece})
        for index in range(len(results), len(pieces)):
            results.append(_outputs(self._requests[index % len(self._requests)]))
        return tuple(np.concatenate(parts) for parts in zip(*results, strict=True))


_TRIED = 16
"""Number of images for measuring a way to run: about the number of people in a frame."""

_OPENVINO_TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def _outputs(request: Any) -> Arrays:
    request.wait()
    return tuple(request.get_tensor(name).data.copy() for name in OUTPUTS)


_PIECE = 64
"""Most images at once per stream; more take memory and are no faster (docs/performance.md)."""


def _info(text: str | None, path: Path) -> ExportInfo:
    if text is None:
        raise CheckpointError(f"{path} was not written by partreid export: it does not say what its outputs are.")
    return ExportInfo.from_json(text, source=str(path))


@contextmanager
def _damaged(path: Path, library: str) -> Iterator[None]:
    """Turn any error of the library about a file into a :class:`CheckpointError`."""
    try:
        yield
    except Exception as error:  # the libraries' errors have no common base
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise CheckpointError(
            f"{library} cannot open {path}: {lines[-1].rstrip('.!')}. Export the run again."
        ) from None


SESSIONS: dict[str, type[OnnxSession] | type[OpenVinoSession]] = {".onnx": OnnxSession, ".xml": OpenVinoSession}
"""The runner that opens an exported file, by its suffix."""


def is_exported(source: object) -> bool:
    """Whether a path means an exported file.

    Example:
        >>> is_exported("model.onnx"), is_exported("runs/light")
        (True, False)
    """
    return isinstance(source, str | Path) and Path(source).suffix in SESSIONS


class ExportedRunner:
    """Runs an exported file behind :class:`~partreid.inference.extractor.PartExtractor`.

    Args:
        file: ``.onnx`` or ``.xml`` (with its ``.bin`` beside it), written by ``partreid export``.
        runtime: device and precision. For ONNX the device is "cpu", "cuda" or "tensorrt", the latter two with a number
            (``cuda:1``) if there are several; "auto" is a GPU if this onnxruntime can use one. An OpenVINO file runs on
            the CPU. "auto" precision is the file's own. If the file allows bfloat16, it is the quicker of bfloat16 and
            float32 on this machine, which is measured when the file is first opened and kept in the cache.

    Attributes:
        precision: the arithmetic of everything that is not in 8-bit integers. milliseconds: processor time per image
            for each possible arithmetic; empty if there was no choice.

    Raises:
        CheckpointError: there is no such file, it has changed since the export, or partreid did not write it.
        ConfigError: it cannot run on that device, or with that precision.
        MissingDependencyError: the library is not installed.
    """

    def __init__(self, file: str | Path, runtime: RuntimeConfig | None = None) -> None:
        path = nameable(file, error=CheckpointError)
        if path.suffix not in SESSIONS:
            raise CheckpointError(f"Expected an exported file (.onnx or .xml), got {path}.")
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}. Write it with: partreid export RUN --to onnx -o {path}")
        if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
            raise CheckpointError(
                f"{path} needs {path.with_suffix('.bin').name} beside it. Copy both, or export again."
            )
        check_seal(path)  # checked first, so that a library never opens a damaged file
        self.session = SESSIONS[path.suffix](path, runtime or RuntimeConfig())
        self.info = self.session.info
        info, self.device = self.info, self.session.device
        self.precision, self.milliseconds = self.session.precision, self.session.milliseconds
        self.slots, self.preprocess, self.mirror = info.slots, info.preprocess, info.mirror
        self.fingerprint, self.normalize_embeddings = info.fingerprint, info.normalize_embeddings
        self.slot_weights = info.slot_weights
        self.visibility = "always" if info.network in ("BoT", "PCB") else info.visibility
        self.visibility_threshold = info.visibility_threshold if self.visibility == "threshold" else None
        self.pose: PoseInput | None = None  # networks that need one are not exported

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        """Run the file on images uint8 [B, H, W, 3]. The output has embeddings, visibility and attention only."""
        vectors, visibility, attention = map(torch.from_numpy, self.session(np.ascontiguousarray(pixels)))
        parts = visibility[:, len(self.slots) - len(self.info.part_names) :]
        embeddings = PartEmbeddings(vectors, visibility, self.slots)
        return ModelOutput(None, attention, RegionVectors(), RegionVectors(), None, parts, embeddings)
