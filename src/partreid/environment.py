"""With what something was computed: what stands beside a result so that it can be had again."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from partreid.version import __version__


def describe_environment(device: torch.device | str = "cpu") -> dict[str, str]:
    """Versions, system, processor, device and time, each in words. No name of a person, machine or folder.

    Args:
        device: where PyTorch computes.

    Example:
        >>> sorted(describe_environment())
        ['NumPy', 'PyTorch', 'Python', 'date', 'device', 'partreid', 'processor', 'system']
    """
    device = torch.device(device)
    return {
        "partreid": __version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "NumPy": np.__version__,
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    """The model's name; Python knows it on some systems only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
