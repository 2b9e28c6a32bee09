"""Parts that all studies share: configs, models, runs and result rows."""
