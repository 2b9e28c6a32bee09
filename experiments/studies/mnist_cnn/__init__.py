"""One claim; see README.md."""
