"""Post-training quantisation to 8-bit integers with NNCF. Training images give the ranges of numbers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from partreid.errors import ExportError, needs_extra
from partreid.runners._export_info import INPUT

CALIBRATION_IMAGES = 256

_KEPT = ("MatMul", "Gemm", "ReduceMax", "Divide", "Div", "Concat", "Interpolate", "Resize")
"""Operations that stay in floating point, by OpenVINO's and ONNX's names: all after the scores of Eq. 1, and the heads.

Together they are a hundredth of the work. In 8 bits, the attention to a part that is not in the image would be 0 at
every pixel. And OpenVINO cannot compile a quantised product of two maps if the rest is bfloat16.
"""


def quantise(model: Any, pixels: np.ndarray) -> Any:
    """A model of ONNX or OpenVINO with convolutions in 8 bits. ``pixels``: training images, uint8 [N, H, W, 3]."""
    with _silent():
        with needs_extra("export", "Exporting with --int8"):
            import nncf
        nncf.set_log_level(logging.ERROR)
        images = nncf.Dataset([{INPUT: image[None]} for image in pixels])
        kept = nncf.IgnoredScope(types=list(_KEPT), validate=False)
        try:
            return nncf.quantize(model, images, subset_size=len(pixels), ignored_scope=kept)
        except Exception as error:  # of several libraries, without a common base
            raise ExportError(f"NNCF cannot quantise this network: {error}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Silence NNCF's notes and progress bars, and stop it from reporting every use to its makers."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"  # read when NNCF is imported
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
