"""Measurements, never tests: every figure is a ratio taken within one run. ``make bench`` runs all."""
