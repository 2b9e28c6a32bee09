"""Pages and pictures of the studies, rendered from their rows; see `__main__`."""
