"""Pure tensor functions, one file per idea: no input, no output, no logging."""
