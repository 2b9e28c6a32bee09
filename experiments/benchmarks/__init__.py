"""Time and memory of a training step, compared with other ways to write the same step."""
