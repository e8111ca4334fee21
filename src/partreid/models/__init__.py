"""Networks: backbones, part attention, heads, BPBReID and its baselines, and their checkpoints."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.models.averaging import average_checkpoints
    from partreid.models.backbones import BACKBONES, Backbone, BackboneEntry, FineMap, build_backbone, preprocess_for
    from partreid.models.bpbreid import PCB, BoT, BPBReID
    from partreid.models.build import build_network
    from partreid.models.checkpoint import Checkpoint, load_backbone, load_checkpoint, save_checkpoint
    from partreid.models.model_config import ModelConfig, bot_model, official_model, paper_model, pcb_model
    from partreid.models.network import ReIDNetwork
    from partreid.models.official import OfficialImport, load_official, read_official

__all__ = [
    "BACKBONES", "PCB", "BPBReID", "Backbone", "BackboneEntry", "BoT", "Checkpoint", "FineMap", "ModelConfig",
    "OfficialImport", "ReIDNetwork", "average_checkpoints", "bot_model", "build_backbone", "build_network",
    "load_backbone", "load_checkpoint", "load_official", "official_model", "paper_model",
    "pcb_model", "preprocess_for", "read_official", "save_checkpoint",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
