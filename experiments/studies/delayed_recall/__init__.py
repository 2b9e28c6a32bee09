"""Delayed recall; see README.md."""
