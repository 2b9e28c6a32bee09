"""Stream 10,000,000 events with stalls and bursts: all decisions equal to `apply`, memory flat.

    python tests/trials/stream.py --events 10000000

Weights are multiples of 1/64 and the decay is 1/2, so that every sum is exact in float32, and all
counts of output spikes must be equal. The stream is one call of `classify_stream`.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from record import record

import stbp_jax as sj
from stbp_jax import streaming

SHAPE, CALL, BIN = (16, 16), 10, 1000  # sensor, steps per call, microseconds
SECTION = 1000  # steps that are drawn, streamed and compared at a time
NETWORK = sj.serial(
    sj.flatten(),
    sj.dense(64, sj.lif(decay=0.5)),
    sj.dense(10, sj.lif(decay=0.5)),
)


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def section(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Times within section n and addresses: some 100 events a bin, stalls of 200 ms, bursts."""
    rng = np.random.default_rng(n)
    times = rng.integers(0, SECTION * BIN, 70_000)
    stall = int(rng.integers(0, SECTION - 200)) * BIN
    times = times[(times < stall) | (times >= stall + 200 * BIN)]
    bursts = rng.integers(0, SECTION * BIN - BIN, 5)
    times = np.concatenate([times, *(start + rng.integers(0, BIN, 9_000) for start in bursts)])
    times.sort()
    return times, rng.integers(0, 256, len(times))


def source(sections: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Chunks of uneven sizes, with the clock alone now and then."""
    for n in range(sections):
        times, addresses = section(n)
        rng = np.random.default_rng([n, 1])
        cuts = np.sort(rng.integers(0, len(times), 200))
        for some, where in zip(np.split(times, cuts), np.split(addresses, cuts), strict=True):
            if len(some):
                yield some + n * SECTION * BIN, where
        yield (n + 1) * SECTION * BIN, None


def main() -> None:
    """Stream and compare, and record a row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=10_000_000)
    wanted = parser.parse_args().events
    sections = -(-wanted // len(section(0)[0]))
    drawn, _ = NETWORK.init(jax.random.key(0), SHAPE)
    params = jax.tree.map(lambda x: jnp.round(x * 256) / 64, drawn)
    stream = streaming.make_stream(NETWORK, params, shape=SHAPE, steps_per_call=CALL)

    @jax.jit
    def applied(state: object, total: jax.Array, xs: jax.Array) -> tuple[object, jax.Array]:
        state, spikes = sj.apply(NETWORK, params, xs, state=state)
        return state, total + jnp.cumsum(spikes[:, 0], axis=0)

    state, _ = NETWORK.initial_state(params, (1, *SHAPE))
    total, events, compared, differ, memory = jnp.zeros(10), 0, 0, 0, []
    decisions = streaming.classify_stream(
        stream, source(sections), microseconds=BIN, num_steps=sections * SECTION
    )
    for n in range(sections):
        times, addresses = section(n)
        events += len(times)
        xs = np.zeros((SECTION, 1, 256), np.float32)
        xs[times // BIN, 0, addresses] = 1
        state, totals = applied(state, total, jnp.asarray(xs.reshape(SECTION, 1, *SHAPE)))
        total = totals[-1]
        steps = np.arange(n * SECTION + CALL, (n + 1) * SECTION + 1, CALL)
        for step, counts in zip(steps, np.asarray(totals)[CALL - 1 :: CALL], strict=True):
            found = next(decisions)
            compared += 1
            same = found.steps == step and found.label == int(np.argmax(counts))
            # Scores are counts over steps, whose last bit depends on how XLA divides.
            differ += not (same and np.array_equal(np.rint(found.scores * step), counts))
        memory.append(resident())
    # The allocator keeps some MB more or less from section to section.
    tenth = max(sections // 10, 1)
    begin, end = (statistics.median(part) for part in (memory[tenth : 2 * tenth], memory[-tenth:]))
    record(
        f"a stream of {events:,} events with stalls and bursts",
        "every decision equal to `apply`, memory flat (2 %)",
        tries=compared,
        failures=differ + int(end > 1.02 * begin),
        decisions_that_differ=differ,
        MB_in_the_second_tenth=round(begin, 1),
        MB_in_the_last_tenth=round(end, 1),
        rate_of_the_output=round(float(total.mean()) / (sections * SECTION), 4),
    )


if __name__ == "__main__":
    main()
