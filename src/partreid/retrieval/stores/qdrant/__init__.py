"""A gallery on a Qdrant server."""
