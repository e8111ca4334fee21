"""Pure tensor functions, one file per idea. No input or output, no state, no logging."""
