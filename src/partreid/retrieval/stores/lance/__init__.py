"""A gallery in a folder: a Lance dataset, and ``gallery.json`` that says what was acknowledged. Needs ``gallery``."""

from partreid.errors import needs_extra

with needs_extra("gallery", "A gallery in a folder"):  # for all modules of this package
    from partreid.retrieval.stores.lance import library as library
