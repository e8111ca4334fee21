"""Self-contained HTML pages about a run, its rankings and its labels."""
