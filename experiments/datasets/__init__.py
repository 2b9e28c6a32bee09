"""Data sets that only the studies use: readers, splits and input coding."""

from experiments.engine.config import Config, UsageError


def named(config: Config, name: str) -> None:
    """Check that a config asks for the data set of this loader.

    Raises:
      UsageError: `data.name` is not `name`.
    """
    if config.data.name != name:
        raise UsageError(f"data.name must be {name} in this variant, got {config.data.name}")
