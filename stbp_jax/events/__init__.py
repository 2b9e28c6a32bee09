"""Binning of packed events into sequences of spikes or counts, on the device."""

from stbp_jax.events.binning import event_counts, event_spikes
from stbp_jax.events.steps import Steps, by_count, by_time

__all__ = ["Steps", "by_count", "by_time", "event_counts", "event_spikes"]
