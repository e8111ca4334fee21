"""How new layers start."""

from __future__ import annotations

WEIGHT_STD = 0.001
"""Standard deviation of a new part or identity classifier's weights."""
