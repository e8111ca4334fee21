"""Rendered pedestrians: a set of any size, with exact labels, identities and occlusion. Needs ``partreid[synth]``."""
