"""Checkpoints: bit for bit, of the same run alone, and the last good one after damage."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.engine import checkpoints
from experiments.engine.config import UsageError

ABOUT = {"config": {"epochs": 3}, "seeds": [0, 1]}
STATE = {
    "weights": jnp.array([0.1, -3.0]),
    "half": jnp.ones(3, jnp.bfloat16),
    "key": jax.random.key(7),
    "step": jnp.int32(4),
    "none": (),
    "empty": jnp.zeros((0, 2)),
}


def write(folder, states, scores=None, about=ABOUT):
    with checkpoints.opened(folder, about) as saved:
        for epoch, state in states.items():
            saved.save(epoch, state, scores and scores[epoch])


def read(folder, like=STATE, about=ABOUT):
    with checkpoints.opened(folder, about) as saved:
        return saved.restore(like)


def names(folder):
    return sorted(int(path.name) for path in (folder / checkpoints.FOLDER).iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the states of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, {1: STATE, 2: STATE | {"step": jnp.int32(8)}})
    return folder


@pytest.fixture
def copied(written, tmp_path):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_state_comes_back_bit_for_bit(written, tmp_path):
    assert read(tmp_path) is None
    assert not any(tmp_path.iterdir())  # to look for a checkpoint makes none
    for like in (STATE, jax.eval_shape(lambda: STATE)):
        epoch, found = read(written, like)
        assert epoch == 2
        assert jax.tree.structure(found) == jax.tree.structure(STATE)
        assert found["step"] == 8
        for name in ("weights", "half", "empty"):
            assert found[name].dtype == STATE[name].dtype
            np.testing.assert_array_equal(found[name], STATE[name])
        assert jax.random.uniform(found["key"]) == jax.random.uniform(STATE["key"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": jnp.zeros(3)}, r"\['weights'\].shape\[0\] is 2 there and 3 here"),
        ({"step": jnp.float32(4)}, r"\['step'\].dtype is 'int32' there and 'float32' here"),
        ({"more": jnp.zeros(1)}, r"\['more'\] is None there"),
    ],
)
def test_a_state_of_another_form_is_refused(written, change, named):
    with pytest.raises(UsageError, match=named):
        read(written, STATE | change)


def test_another_run_is_refused(written):
    with pytest.raises(UsageError, match="another run: config.epochs is 3 there and 4 here"):
        read(written, about=ABOUT | {"config": {"epochs": 4}})
    with pytest.raises(UsageError, match=r"seeds is \[0, 1\] there and \[0\] here"):
        read(written, about=ABOUT | {"seeds": [0]})


def test_a_newer_format_is_refused(copied, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 0)
    with pytest.raises(UsageError, match="has format 1, this version reads up to 0"):
        read(copied)


def test_the_last_two_and_the_best_are_kept(tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: 0.3, 4: 0.4, 5: 0.2}
    write(tmp_path, dict.fromkeys(scores, STATE), scores)
    assert names(tmp_path) == [2, 4, 5]
    checkpoints.delete(tmp_path)
    write(tmp_path, dict.fromkeys(scores, STATE))
    assert names(tmp_path) == [4, 5]


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def files_of(folder, epoch):
    return sorted(p for p in (folder / checkpoints.FOLDER / str(epoch)).rglob("*") if p.is_file())


@pytest.mark.filterwarnings("ignore:checkpoint .* is skipped")
def test_flipped_bits_are_found_or_harmless(copied):
    """One bit in each file of the newest checkpoint: the newest state as it was, or the last."""
    rng = np.random.default_rng(0)
    for path in files_of(copied, 2):
        content = path.read_bytes()
        if not content:
            continue
        flip(path, int(rng.integers(8 * len(content))))
        epoch, found = read(copied)
        assert found["step"] == {1: 4, 2: 8}[epoch]
        np.testing.assert_array_equal(found["weights"], STATE["weights"])
        path.write_bytes(content)


def test_the_one_before_a_damaged_checkpoint_is_used(copied):
    record = copied / checkpoints.FOLDER / "2" / checkpoints.RECORD
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"text": content["text"].replace("3", "4")}))
    with pytest.warns(UserWarning, match="2 is skipped: record.json has another SHA-256"):
        assert read(copied)[0] == 1
    record.unlink()  # as if a kill had come before it was written
    with pytest.warns(UserWarning, match="2 is skipped: its save did not end"):
        assert read(copied)[0] == 1
    write(copied, {2: STATE | {"step": jnp.int32(9)}})  # as the resumed run does
    assert read(copied)[1]["step"] == 9
    for path in files_of(copied, 1) + files_of(copied, 2):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is skipped"), pytest.raises(UsageError, match="is good"):
        read(copied)


def test_saves_that_did_not_end_are_no_checkpoints(copied):
    for epoch in (1, 2):  # as if the first save had been killed
        (copied / checkpoints.FOLDER / str(epoch) / checkpoints.RECORD).unlink()
    with pytest.warns(UserWarning, match="[12] is skipped: its save did not end"):
        assert read(copied) is None
    write(copied, {1: STATE})
    assert read(copied)[0] == 1


def test_a_save_that_fails_is_a_warning(tmp_path):
    (tmp_path / checkpoints.FOLDER).write_text("in the way")
    with pytest.warns(UserWarning, match="after epoch 1 is not saved, the run goes on"):
        write(tmp_path, {1: STATE})
