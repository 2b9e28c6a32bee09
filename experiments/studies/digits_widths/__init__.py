"""The study `digits_widths`; see its README.md."""
