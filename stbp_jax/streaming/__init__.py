"""Networks on events as they come: one compiled step, and the loop that feeds it.

The compiled part is pure, state in and state and scores out (`compiled`, `readouts`); what waits,
counts and refuses is plain Python around it (`loop`, `sources`).
"""

from stbp_jax.streaming.compiled import Stream, StreamState, any_event, make_stream
from stbp_jax.streaming.loop import Decision, Rule, decisions, lead, never
from stbp_jax.streaming.readouts import running_peak, running_rate
from stbp_jax.streaming.sources import Chunk, live, replay

__all__ = [
    "Chunk",
    "Decision",
    "Rule",
    "Stream",
    "StreamState",
    "any_event",
    "decisions",
    "lead",
    "live",
    "make_stream",
    "never",
    "replay",
    "running_peak",
    "running_rate",
]
