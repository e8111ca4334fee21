"""The training objective: GiLt, part attention, and their sum (Eq. 5)."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.losses.gilt import gilt_terms
    from partreid.losses.loss_config import GiLtConfig, ObjectiveConfig, RegionWeights

__all__ = ["GiLtConfig", "ObjectiveConfig", "RegionWeights", "gilt_terms"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
