"""From pictures to embeddings."""
