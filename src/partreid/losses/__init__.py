"""The training objective: GiLt, part attention, and their sum (Eq. 5)."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.losses.extra import ExtraLosses, LossSetup
    from partreid.losses.loss_config import LOSSES, GiLtConfig, ObjectiveConfig, RegionWeights
    from partreid.losses.objective import gilt_terms

__all__ = [
    "LOSSES", "ExtraLosses", "GiLtConfig", "LossSetup", "ObjectiveConfig", "RegionWeights", "gilt_terms",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
