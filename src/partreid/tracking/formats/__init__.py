"""Readers of tables of boxes, a file for each family of formats: they give ``BoxRows``."""
