"""Flip bits of checkpoints and saved networks, and cut their files: 1,000 times.

    python tests/trials/damage.py --tries 1000

Every read must give the state that was written (of a checkpoint also the one before), or an error.
"""

import argparse
import random
import shutil
import tempfile
import warnings
from pathlib import Path

import jax
import numpy as np
from record import record

import stbp_jax as sj
from experiments.engine import checkpoints
from experiments.engine.config import UsageError

NETWORK = sj.serial(sj.dense(40, sj.lif()), sj.dense(10, sj.lif()))
FIRST, SECOND = (NETWORK.init(jax.random.key(seed), (64,))[0] for seed in (1, 2))


def equal(found: object, state: object) -> bool:
    """Whether two trees have the same arrays."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def main() -> None:
    """Damage and read, and record a row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=1000)
    tries = parser.parse_args().tries
    warnings.simplefilter("ignore")
    rng, wrong, refused, same = random.Random(0), [], 0, 0
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        with checkpoints.opened(whole, {}) as saved:
            saved.save(1, FIRST, None)
            saved.save(2, SECOND, None)
        sj.save(whole / "params.npz", NETWORK, SECOND)
        files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
        for n in range(tries):
            folder = Path(name) / "damaged"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            # Half of the damage is done to the saved network.
            path = folder / (Path("params.npz") if n % 2 else rng.choice(files))
            content = bytearray(path.read_bytes())
            if not content:
                continue
            place = rng.randrange(len(content))
            if rng.random() < 0.7:
                content[place] ^= 1 << rng.randrange(8)
            else:
                del content[place:]
            path.write_bytes(content)
            try:
                if path.name == "params.npz":
                    good = equal(sj.load(path, NETWORK, FIRST), SECOND)
                else:
                    with checkpoints.opened(folder, {}) as saved:
                        epoch, found = saved.restore(FIRST)
                    good = equal(found, {1: FIRST, 2: SECOND}[epoch])
                same += good
                if not good:
                    wrong.append(f"{path.relative_to(folder)} at {place}")
            except (UsageError, ValueError):
                refused += 1
            except Exception as error:
                wrong.append(f"{path.relative_to(folder)} at {place}: {type(error).__name__}")
    record(
        "bit flips and cut files of checkpoints and saved networks",
        "detected or harmless",
        tries=tries,
        failures=len(wrong),
        refused=refused,
        read_a_good_state=same,
        wrong=wrong[:10],
    )


if __name__ == "__main__":
    main()
