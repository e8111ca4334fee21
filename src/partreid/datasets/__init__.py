"""Data sets: readers that list pictures, and what turns pictures and labels into batches."""
