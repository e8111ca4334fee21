"""Training: configuration, presets, the loop, and what makes it resume."""
