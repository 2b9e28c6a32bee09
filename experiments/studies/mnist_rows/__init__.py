"""The study `mnist_rows`; see its README.md."""
