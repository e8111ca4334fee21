"""Networks: backbones, part attention, heads, BPBReID and its baselines, and their checkpoints."""
