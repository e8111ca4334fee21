"""Networks: backbones, part attention, heads, BPBReID, and their checkpoints."""
