"""Data sets: readers that list images, and what turns images and labels into batches."""
