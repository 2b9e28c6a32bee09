"""The study `online_learning`; see its README.md."""
