"""The names of all OSNets, so that backbones can be listed without PyTorch."""

from __future__ import annotations

from typing import Literal

Kind = Literal["plain", "ibn", "ain"]

_WIDTHS = {"1_0": 1.0, "0_75": 0.75, "0_5": 0.5, "0_25": 0.25}

OSNETS: dict[str, tuple[Kind, float]] = {
    **{f"osnet_x{size}": ("plain", width) for size, width in _WIDTHS.items()},
    "osnet_ibn_x1_0": ("ibn", 1.0),
    **{f"osnet_ain_x{size}": ("ain", width) for size, width in _WIDTHS.items()},
}
"""The OSNets of torchreid's model zoo by its names, with kind and width."""
