"""The study `delayed_recall`; see its README.md."""
