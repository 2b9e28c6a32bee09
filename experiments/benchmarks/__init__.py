"""How long a step takes and how much memory it needs, beside the same step written otherwise."""
