"""Rendered pedestrians: a set of any size, with exact labels, identities and occlusion. Needs ``partreid[synth]``."""

from partreid.datasets.synthetic.dataset import render_dataset
from partreid.datasets.synthetic.render_config import SyntheticConfig

__all__ = ["SyntheticConfig", "render_dataset"]
