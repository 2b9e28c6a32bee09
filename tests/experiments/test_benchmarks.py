"""The benchmarks: timed programs compute the same, the protocol holds, tables match their rows."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import stbp_jax as sj
from experiments.benchmarks import __main__ as command
from experiments.benchmarks import (
    environment,
    memory,
    ours,
    shapes,
    tables,
    timing,
    variants,
    worker,
)
from experiments.engine import rows as result_rows
from tests.neurons.test_kernels import known, lowered

SMALL = {name: shapes.tiny(w) for name, w in shapes.WORKLOADS.items()}
SLOW = ("step-784-400-10-T300-B100", "cnn-T5-B100", "linear-lif-N512")
DISTINCT = [name for name in SMALL if name not in ("step-784-400-10-T30-B100", "linear-lif-N2048")]


@pytest.fixture(autouse=True)
def promotion():
    # The bare loop is written as a newcomer would.
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.heavy if n in SLOW else ()) for n in DISTINCT],
)
def test_implementations_compute_the_same(name):
    workload = SMALL[name]
    # One program each: op by op, every op would be compiled by itself.
    reference = jax.jit(lambda: ours.check(workload, ours.bare(workload)))()
    assert 0.05 < np.mean(reference["spikes"]) < 0.6
    for leaf in (v for k, v in reference.items() if k.startswith("grad")):
        assert np.mean(np.asarray(leaf) != 0) > 0.2
    for implementation in variants.fitting(shapes.WORKLOADS[name], cuda=False):
        variant = variants.VARIANTS[implementation]
        found = jax.jit(lambda make=variant.forward: ours.check(workload, make(workload)))()
        claims = {k: k for k in found if variant.exact or not k.startswith("grad")}
        ready = {"check": found, "claims": claims}
        assert set(found) == set(reference)
        assert worker.disagreements(ready, {"check": reference}) == []


def in_numpy(workload, dtype):
    """Membranes of every population, by the equations alone."""
    plain = isinstance(workload, shapes.Unroll)
    xs = (shapes.currents(workload) if plain else shapes.spikes(workload)).astype(dtype)
    left = iter(shapes.weights(workload))
    membranes = []
    for stage in shapes.stages(workload):
        steps, batch, *shape = xs.shape
        if stage.pool > 1:
            rows, columns, channels = shape
            tiles = (rows // stage.pool, stage.pool, columns // stage.pool, stage.pool, channels)
            xs = xs.reshape(steps, batch, *tiles).mean(axis=(3, 5), dtype=dtype)
        if stage.synapse is not None:
            kernel, bias = (a.astype(dtype) for a in next(left))
            if isinstance(stage.synapse, shapes.Conv):
                size = (stage.synapse.kernel,) * 2
                windows = np.lib.stride_tricks.sliding_window_view(xs, size, axis=(2, 3))
                xs = np.einsum("tbhwcij,ijco->tbhwo", windows, kernel) + bias
            else:
                xs = xs.reshape(steps, batch, -1) @ kernel + bias
        u, o = np.zeros((2, *xs.shape[1:]), dtype)
        found = []
        for current in xs:
            u = dtype(workload.decay) * u * (1 - o) + current
            o = (u >= shapes.THRESHOLD).astype(dtype)
            found.append((u, o))
        membrane, xs = (np.stack(a) for a in zip(*found, strict=True))
        membranes.append(membrane)
    return membranes


@pytest.mark.parametrize("name", DISTINCT)
def test_tiny_workloads_are_exact_and_free_of_ties(name):
    workload = SMALL[name]
    assert workload.decay == 0.5

    dtype = np.dtype(shapes.precision(workload)).type
    single, double = (in_numpy(workload, dtype) for dtype in (dtype, np.float64))
    spikes = jax.jit(lambda: ours.check(workload, ours.bare(workload))["spikes"])()
    np.testing.assert_array_equal(single[-1] >= shapes.THRESHOLD, spikes)
    for u32, u64 in zip(single, double, strict=True):
        np.testing.assert_array_equal(u32, u64)
        edges = np.array([0.0, shapes.THRESHOLD, 1.0])  # of the surrogate's window, and its middle
        assert np.abs(u64[..., None] - edges).min() > 1e-6


def test_workloads_are_those_of_the_page():
    text = tables.PAGE.read_text()
    for name in shapes.WORKLOADS:
        assert f"`{name}`" in text
    for name in (
        *variants.VARIANTS,
        "bare lax.scan",
        *ours.FLOORS,
        *command.PEERS,
        *command.CPU_PEERS,
        *command.CUDA_PEERS,
    ):
        assert f"| `{name}` |" in text


def test_sizes():
    mlp, cnn = (shapes.WORKLOADS[name] for name in ("step-784-400-10-T30-B100", "cnn-T5-B100"))
    assert [k.shape for k, _ in shapes.weights(mlp)] == [(784, 400), (400, 10)]
    assert [k.shape for k, _ in shapes.weights(cnn)] == [
        (5, 5, 1, 15),
        (5, 5, 15, 40),
        (640, 300),
        (300, 10),
    ]
    assert [stage.units for stage in shapes.stages(cnn)] == [
        (24, 24, 15),
        (8, 8, 40),
        (300,),
        (10,),
    ]
    images, labels = shapes.images(cnn)
    assert images.shape == (100, 28, 28, 1)
    assert images.dtype == np.uint8
    assert labels.max() < 10
    lif = shapes.WORKLOADS["lif-T32-64x16384"]
    assert lif.steps * lif.batch * lif.units * 4 == 2**27


@pytest.mark.parametrize("name", ["step-784-400-10-T30-B100", "lif-T32-64x16384"])
def test_floors_are_timed_without_neurons(name):
    workload = SMALL[name]
    floor = ours.implementations(workload)[-1]
    ready = ours.prepare(floor, workload, workload)
    ready.run()
    assert ready.check == ready.claims == {}
    assert "floor" in ready.remark
    assert ready.temp_bytes is not None


def test_dense_floor_makes_five_products_for_two_layers():
    workload = SMALL["step-784-400-10-T30-B100"]
    task = ours.dense_floor(workload)
    jaxpr = jax.make_jaxpr(task.function)(task.carried, *task.inputs)
    assert sum(e.primitive.name == "dot_general" for e in jaxpr.eqns) == 5


def test_orchestra(tmp_path, capsys):
    argv = ["--smoke", "--rounds", "2", "--workload", "lif-T32-64x16384"]
    argv += ["--implementation", "bare lax.scan", "--results", str(tmp_path)]
    assert command.main(argv) == 0
    assert "| stbp_jax lif_unroll |" in capsys.readouterr().out
    (file,) = tmp_path.glob("*.jsonl")
    default, bare = result_rows.read_lines(file)
    assert default["implementation"] == ours.DEFAULT
    assert default["checked"] == "spikes, gradients as bare lax.scan"
    assert bare["checked"] == "spikes, gradients as stbp_jax lif_unroll"
    for row in (default, bare):
        assert len(row["samples_seconds"]) == 2 * command.SAMPLES
        assert row["median_seconds"] > 0
        assert row["compile_seconds"] > 0
        assert row["peak_bytes"] is not None
        assert row["jax"] == jax.__version__
        assert row["device"].startswith("cpu")
        assert row["command"].startswith("python -m experiments.benchmarks --smoke")


@known
@pytest.mark.parametrize("name", ["step-784-400-10-T30-B100", "lif-T32-64x65536-float16"])
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
def test_what_runs_only_on_cuda_lowers_for_it(name):
    workload = SMALL[name]
    assert "stbp_jax lif_pallas" in ours.implementations(workload, cuda=True)
    assert "stbp_jax lif_pallas" not in ours.implementations(workload)
    forward, encode, *_ = variants.VARIANTS["stbp_jax lif_pallas"]
    task = ours.whole(workload, forward(workload), encode)
    assert "lif_backward" in lowered(task.function, task.carried, *task.inputs)


def test_another_unroll_must_be_the_same():
    ours.assert_same_unroll(sj.neurons.lif_scan)

    def later(reset, constants, state, xs):
        return sj.neurons.lif_unroll(reset, constants, state, xs + 0.25)

    with pytest.raises(AssertionError, match="other spikes, grad0 than lif_unroll for 4 x 1024"):
        ours.assert_same_unroll(later)


def test_cuda_rehearsed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(environment, "install_carried", lambda folder: None)
    monkeypatch.setenv("OUT", str(tmp_path))
    argv = ["--cuda", "--smoke", "--rounds", "1", "--workload", "lif-T32-64x65536-float16"]
    argv += ["--implementation", "byte floor", "--implementation", "Norse"]
    assert command.main([*argv, "--results", str(tmp_path / "rows")]) == 1
    printed = capsys.readouterr()
    assert "failed: Norse ended with code 1" in printed.err  # not installed in this environment
    (file,) = (tmp_path / "rows").glob("*.jsonl")
    default, floor = result_rows.read_lines(file)
    assert default["precision"] == floor["precision"] == "float16"
    assert default["peak_bytes"] is not None


def test_cuda_needs_a_device(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--cuda"])
    assert "needs a JAX that finds a CUDA device" in capsys.readouterr().err


def test_no_time_is_told(capsys):
    argv = ["--smoke", "--seconds", "1e-9", "--workload", "lif-T32-64x16384"]
    assert command.main(argv) == 1
    assert "no time left for lif-T32-64x16384" in capsys.readouterr().err


def test_worker_tells_what_failed():
    nobody = worker.Worker(Path(sys.executable), "ours", "nobody", "lif-T32-64x16384", smoke=True)
    nobody.ask()
    with pytest.raises(worker.WorkerError, match="KeyError: 'nobody'"):
        nobody.hear()
    nobody.close()


def test_a_worker_that_takes_too_long_is_ended():
    slow = worker.Worker(Path(sys.executable), "ours", "nobody", "lif-T32-64x16384", smoke=True)
    with pytest.raises(worker.WorkerError, match="nobody was not done after 0 s"):
        slow.hear(limit=0.01)  # without a word to it, it waits
    slow.close()


def test_disagreements_are_found():
    reference = {"check": {"spikes": [0.0, 1.0], "grad0": [1.0], "cut/grad0": [2.0]}}
    same = {"check": {"spikes": [0.0, 1.0], "grad0": [2.0]}, "claims": {"grad0": "cut/grad0"}}
    assert worker.disagreements(same, reference) == []
    other = {
        "check": {"spikes": [1.0, 1.0], "grad0": [1.1]},
        "claims": {k: k for k in ("spikes", "grad0")},
    }
    assert worker.disagreements(other, reference) == ["spikes", "grad0"]


def test_samples_are_all_kept_after_an_untimed_call():
    calls = []
    assert len(timing.sample(lambda: calls.append(1), 4)) == 4
    assert len(calls) == 5
    assert timing.spread([3.0, 1.0, 2.0]) == (1.5, 2.0, 2.5)
    assert timing.spread([1.0]) == (1.0, 1.0, 1.0)


# Temporaries of known sizes, in MB; each is there several times before it is measured, so that
# the allocator has seen it freed.
KNOWN = {
    "jax": """
import jax
def make(count):
    held = jax.lax.optimization_barrier
    call = jax.jit(lambda x: jax.numpy.sum(held(jax.numpy.tile(x, count // 8))))
    x = jax.numpy.ones(8)
    return lambda: call(x).block_until_ready()
""",
    "torch": """
import torch
def make(count):
    x = torch.ones(8)
    return lambda: x.repeat(count // 8).sum().item()
""",
}
MEASURE = """
from experiments.benchmarks import timing
runs = {mb: make(mb * 250_000) for mb in (10, 24, 50)}
for run in [*runs.values()] * 5:
    run()
for mb, run in runs.items():
    print(mb, min(timing.growth(run) for _ in range(3)) / 1e6)  # other memory only adds
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("framework", KNOWN)
def test_growth_is_what_a_call_allocates(framework):
    python = Path(sys.executable)
    if framework == "torch":
        python = environment.HOME / "peers_torch" / "bin" / "python"
        if not python.exists():
            pytest.skip("made by make bench-peers")
    out = subprocess.run(
        [str(python), "-c", KNOWN[framework] + MEASURE],
        env={**os.environ, **worker.ENVIRONMENT, "GLIBC_TUNABLES": worker.HUGEPAGES},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [tuple(map(float, line.split())) for line in out.splitlines()]
    assert [planned for planned, _ in found] == [10, 24, 50]
    for planned, grown in found:
        assert planned - 1 < grown < planned + 5


def row(**changes):
    return {
        "workload": "lif-T32-64x16384",
        "implementation": ours.DEFAULT,
        "version": "stbp_jax 0",
        "precision": "float32",
        "samples_seconds": [0.010, 0.012, 0.014],
        "median_seconds": 0.012,
        "compile_seconds": 1.25,
        "peak_bytes": 500_000_000,
        "temp_bytes": None,
        "hugepages": True,
        "device": "cpu: x",
        "jax": "0",
        "python": "3",
        "commit": "c",
        "command": "x",
        "date": "d1",
        "checked": "spikes as y",
        "remark": "",
    } | changes


def test_tables():
    peer = {"implementation": "Norse", "jax": None, "compile_seconds": None, "remark": "other"}
    rows = [
        row(samples_seconds=[0.1]),  # an older session
        row(date="d2"),
        row(date="d2", samples_seconds=[0.024] * 3, checked=None, peak_bytes=None, **peer),
        row(workload="step-784-400-10-T30-B100", implementation="Norse"),
    ]
    text = tables.rendered(rows)
    assert "| stbp_jax lif_unroll | 12.0 | 11.0 – 13.0 | 1.00 | 1.2 | 500 | spikes as y |" in text
    assert "| Norse | 24.0 | 24.0 – 24.0 | 2.00 | – | – | other |" in text
    assert "| Norse | 12.0 | 11.0 – 13.0 | – | 1.2 | 500 | spikes as y |" in text  # no default then
    assert "100" not in text.partition("step-784")[0]
    # Workloads come in the order of the list, devices apart.
    assert text.index("#### step-784") < text.index("#### lif-T32")
    assert text.count("### cpu: x, jax 0") == 1
    # The overview has the newest session of each workload that has a default.
    (line,) = tables.overview(rows).splitlines()[2:]
    assert line == (
        "| cpu: x, jax 0 | `lif-T32-64x16384` | 12.0 | lif_unroll, 12.0 | Norse, 24.0 | 2.00 | – |"
    )
    kept = [
        {"num_steps": steps, "implementation": name, "temp_bytes": size}
        for steps, name, size in ((30, "default", 1e6), (10, "default", 5e6), (30, "lean", 2e6))
    ]
    memory = "| T | default | lean |\n|---:|---:|---:|\n| 10 | 5 | – |\n| 30 | 1 | 2 |"
    assert tables.memory_table(kept) == memory
    samples = {"alone": [2.0], "sweep": [1.0], "spread": [0.5], "at once": [4.0]}
    first = {name: 1 + 2 * values[0] for name, values in samples.items()}
    sweeps = [{"cells": 4, "samples_seconds": samples, "first_seconds": first}]
    swept = tables.sweep_table(sweeps)
    assert swept.splitlines()[2:] == [
        "| 4 | 2.00 | 1.00 | 0.50 | 4.00 | 2.00, 4.00, 0.50 | 1.67, 2.50, 0.56 |"
    ]
    old = f"a {tables.BEGIN} old {tables.END} b {tables.MEMORY_BEGIN}{tables.MEMORY_END} c"
    old += f"{tables.SWEEPS_BEGIN}{tables.SWEEPS_END} d"
    page = tables.page(old, rows, kept, sweeps)
    wanted = f"a {tables.BEGIN}\n\n{text}\n\n{tables.END} b "
    wanted += f"{tables.MEMORY_BEGIN}\n\n{memory}\n\n{tables.MEMORY_END} c"
    assert page == f"{wanted}{tables.SWEEPS_BEGIN}\n\n{swept}\n\n{tables.SWEEPS_END} d"
    assert tables.page(page, rows, kept, sweeps) == page


def test_ratios():
    def timed(name, ms, **changes):
        return row(implementation=name, samples_seconds=[ms / 1e3] * 3, **changes)

    rows = [
        timed(ours.DEFAULT, 10),
        timed("stbp_jax lif_pallas", 12),
        timed("bare lax.scan", 5),
        timed("byte floor", 8),
        timed("Norse", 40),
        timed("Spyx", 25),
        timed("snnTorch", 1, date="d0"),  # of another session
    ]
    assert tables.ratios(rows).splitlines() == [
        "- stbp_jax lif_unroll: 2.50 times as fast as the fastest peer (Spyx).",
        "- stbp_jax lif_unroll: 1.25 times the byte floor.",
    ]
    rows[1] = timed("stbp_jax lif_pallas", 9)
    assert tables.ratios(rows).splitlines()[1] == (
        "- stbp_jax lif_unroll: 1.25 times the byte floor; "
        "stbp_jax lif_pallas: 1.12 times the byte floor."
    )
    assert tables.ratios(rows[:3]) == ""
    assert tables.ratios(rows[1:]) == ""


def test_a_page_without_rows_of_cuda_says_so():
    assert tables.rendered([row()]).endswith("### CUDA\n\nNot measured.")
    assert "Not measured" not in tables.rendered([row(), row(device="gpu: x")])


def test_page_shows_its_rows():
    assert tables.main(["--check"]) == 0


@pytest.mark.heavy
@pytest.mark.usefixtures("optimized")
def test_lean_schedules_need_less_memory():
    """The table's claim on a small scale: less than plain autodiff, and the less the leaner."""
    rows = memory.main(steps=(60,))
    plain, default, chunked, lean = (row["temp_bytes"] for row in rows)
    assert default < 0.5 * plain
    assert chunked < 0.7 * default
    assert lean < 0.7 * chunked
