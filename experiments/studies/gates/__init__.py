"""The study `gates`; see its README.md."""
