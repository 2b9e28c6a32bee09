"""Programs compiled for accelerators that are not at hand, and what they launch and move."""
