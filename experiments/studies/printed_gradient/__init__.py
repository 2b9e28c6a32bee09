"""The study `printed_gradient`; see its README.md."""
