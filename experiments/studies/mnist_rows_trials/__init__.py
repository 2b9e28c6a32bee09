"""The study `mnist_rows_trials`; see its README.md."""
