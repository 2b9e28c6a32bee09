"""Data sets that only studies read: where examples come from and how they are split."""

from experiments.engine.config import Config, UsageError


def named(config: Config, name: str) -> None:
    """Refuses a config that asks for another data set than a loader reads."""
    if config.data.name != name:
        raise UsageError(f"data.name must be {name} in this variant, got {config.data.name}")
