"""A gallery in a folder: a Lance dataset, and ``gallery.json`` that says what was acknowledged."""
