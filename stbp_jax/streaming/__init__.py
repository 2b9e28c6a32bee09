"""Networks on live events: one compiled step, and the Python loop that feeds it.

The compiled part is pure, from a state to a state and scores (`compiled`, `readouts`). Waiting,
counting and checks are plain Python around it (`loop`, `sources`), so none of it goes inside `jit`.
"""

from stbp_jax.streaming.compiled import Stream, StreamState, any_event, make_stream
from stbp_jax.streaming.exporting import export_stream
from stbp_jax.streaming.loop import Decision, Rule, classify_stream, margin_rule, no_early_exit
from stbp_jax.streaming.readouts import running_peak, running_rate
from stbp_jax.streaming.sources import Chunk, replay, with_clock

__all__ = [
    "Chunk",
    "Decision",
    "Rule",
    "Stream",
    "StreamState",
    "any_event",
    "classify_stream",
    "export_stream",
    "make_stream",
    "margin_rule",
    "no_early_exit",
    "replay",
    "running_peak",
    "running_rate",
    "with_clock",
]
