"""Train, evaluate, sweep and stream in one process for hours: memory flat, nothing compiled anew.

python tests/trials/soak.py --minutes 120
"""

import argparse
import gc
import time
from pathlib import Path

import jax
import numpy as np
import optax
from record import record

import stbp_jax as sj
from stbp_jax import data, streaming

NETWORK = sj.serial(sj.flatten(), sj.dense(64, sj.lif()), sj.dense(10, sj.lif()))
CONFIG = sj.TrainConfig(epochs=2, batch_size=50)
WARM = 5  # cycles


def build(hparams: dict[str, object], num_updates: int) -> sj.Pipeline:
    """The digits by STBP."""
    return sj.Pipeline(
        encode=lambda key, images: sj.bernoulli(key, images, num_steps=5),
        network=NETWORK,
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.adam(hparams["rate"]),
    )


def resident() -> float:
    """Memory of this process in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    """Work in cycles, and record a row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=120)
    minutes = parser.parse_args().minutes
    lowered: list[str] = []  # the checks of arguments trace at every call, and lower nothing
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: lowered.append(event) if "jaxpr_to_mlir" in event else None
    )
    train_set, test_set = data.load("digits")
    points = {"rate": np.array([1e-3, 2e-3], np.float32)}
    keys = jax.random.split(jax.random.key(0), 2)
    whole = jax.jit(sj.make_train(build, CONFIG))
    pipeline = build({"rate": 1e-3}, 1)
    evaluated = jax.jit(
        lambda params, key, *test: sj.evaluate(pipeline, params, key, *test).headline
    )
    params, _ = NETWORK.init(jax.random.key(0), (8, 8))
    stream = streaming.make_stream(NETWORK, params, shape=(8, 8), steps_per_call=5)
    end = time.monotonic() + 60 * minutes
    memory, programs = [], []
    while time.monotonic() < end or len(memory) <= 2 * WARM:
        n = len(memory)
        key = jax.random.fold_in(jax.random.key(1), n)
        hparams = {"rate": np.float32(1e-3)}
        state, _ = whole(key, hparams, train_set, test_set)
        for state, _ in sj.train_epochs(build, CONFIG, key, hparams, train_set, test_set):
            evaluated(state.params, key, *test_set).block_until_ready()
        for _, history in sj.sweeps.sweep_epochs(build, CONFIG, keys, points, train_set, test_set):
            np.asarray(history.loss)
        times = np.sort(np.random.default_rng(n).integers(0, 50_000, 1000))
        events = [(times, np.random.default_rng(n).integers(0, 64, 1000)), (50_000, None)]
        list(streaming.classify_stream(stream, events, microseconds=1000, num_steps=50))
        memory.append(resident())
        programs.append(len(lowered))
    growth = memory[-1] / memory[WARM] - 1
    more = programs[-1] - programs[WARM]
    record(
        f"soak: {minutes:g} minutes of training, evaluation, sweeps and streams in one process",
        "resident memory grows by less than 2 % after warm-up, no program is compiled again",
        tries=len(memory),
        failures=int(growth > 0.02) + int(more > 0),
        MB_after_warm_up=round(memory[WARM], 1),
        MB_at_the_end=round(memory[-1], 1),
        programs_compiled_after_warm_up=more,
    )


if __name__ == "__main__":
    main()
