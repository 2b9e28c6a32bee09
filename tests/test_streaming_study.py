"""The study of streams: its page from a row, a picture of a bin, and the program in a terminal."""

import jax
import numpy as np
import pytest
from matplotlib import image

import stbp_jax as sj
from experiments import harness
from experiments.streaming import __main__ as terminal
from experiments.streaming import figures, measure, study

TIMES = {"median": 0.2, "p99": 0.4, "longest": 1.0}
ROW = {
    "date": "2026-11-22",
    "network": "2312-800-10",
    "dataset": "nmnist_subset",
    "num_steps": 6,
    "epochs": 1,
    "num_train": 8,
    "num_test": 100,
    "device": "cpu",
    "jax": "0.10.2",
    "commit": "abc",
    "microseconds": 10_000,
    "accuracy_at": [0.1, 0.2, 0.5, 0.7, 0.8, 0.81],
    "early": [{"lead": 0.1, "accuracy": 0.75, "milliseconds": 41.5}],
    "streams": [
        {
            "product": "event_driven_matmul",
            "microseconds": 1000,
            "steps_per_call": 10,
            "compile_seconds": 0.5,
            "compared": 30,
            "equal": 29,
            "compared_at_end": 10,
            "equal_at_end": 10,
            "events_per_step": 12.7,
            "call_milliseconds": TIMES,
            "loop_milliseconds": TIMES,
        }
    ],
}


def test_page_from_a_row(tmp_path):
    text = figures.table([ROW, ROW | {"date": "2026-01-01", "jax": "0.1"}])
    line = "| 1 | 10 | event_driven_matmul | 13 | 0.200, 0.400 | 0.020 | 0.200, 0.400 | 0.50 | "
    assert line + "10 of 10; 29 of 30 |" in text
    assert "| test accuracy (%) | 10.0 | 80.0 |" in text
    assert "| mean time (ms) | 42 |" in text
    assert "0.10.2" in text
    figures.draw([ROW], tmp_path)
    assert image.imread(tmp_path / "accuracy.png").size


def test_decisions_made_early():
    scores = np.array([[[0, 0.2], [0.5, 0.1]], [[0.3, 0.1], [0.3, 0.2]]])  # [N, T, C]
    right = scores.argmax(2) == [[0], [0]]
    told = [measure._early(scores, right, least, 10_000) for least in (0.15, 0.3)]
    assert [(e["accuracy"], e["milliseconds"]) for e in told] == [(0.5, 10), (1, 20)]


def test_a_bin_in_characters():
    counts = np.zeros((3, 3, 2))
    counts[0, 0, 0] = counts[1, 0, 1] = counts[0, 1, 1] = counts[1, 2, 0] = counts[2, 2, 0] = 1
    assert terminal.picture(counts) == ["█▀▄", "  ▀"]
    decision = sj.streaming.Decision(20_000, 2, np.array([0.0, 0.5]), 1, "")
    lines = terminal.frame(counts, decision, 1, 0.001)
    assert lines[0].endswith("20.0 ms, bin 2, 5 events")
    assert terminal.bars(decision.scores, 1)[1].startswith("> 1 " + "█" * 12 + " ")


@pytest.mark.slow
def test_the_program_in_a_terminal(data_dir, tmp_path, capsys, monkeypatch):
    if not (data_dir / "nmnist").exists():
        pytest.skip(f"{data_dir}/nmnist is not there")
    settings = study.Settings(hidden="16", num_steps=4)
    network = study.network(settings)
    params, _ = network.init(jax.random.key(0), study.SHAPE)
    sj.save(tmp_path / "params.npz", network, params)
    harness.write_json(tmp_path / "config.json", {"settings": harness.plain(settings)})
    monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)
    assert terminal.main([f"--run={tmp_path}", "--count=2", "--speed=10"]) == 0
    out = capsys.readouterr().out
    assert "40.0 ms, bin 4" in out
    assert " of 2 right" in out
    assert terminal.main([f"--run={tmp_path}", "--count=0"]) == 2
    assert terminal.main([f"--run={tmp_path}", "--set=hidden=8"]) == 2
    assert "has shape [2312, 16], the network needs [2312, 8]" in capsys.readouterr().err
