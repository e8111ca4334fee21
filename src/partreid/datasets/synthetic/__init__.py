"""Rendered pedestrians: a set of any size, with exact labels, identities and occlusion. Needs ``partreid[synth]``."""

from partreid.datasets.synthetic.config import SyntheticConfig
from partreid.datasets.synthetic.dataset import render_dataset

__all__ = ["SyntheticConfig", "render_dataset"]
