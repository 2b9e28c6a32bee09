"""Mutated files against every parser of the library: `python tests/fuzz_files.py --seconds 600`.

A file must be read, or refused by a ValueError or OSError that names it. Any other exception, an
execution that takes longer than `SECONDS`, one that raises the peak of memory by more than `MEMORY`
bytes, and a crash of the interpreter are findings. The program writes its own small seeds, and
keeps no corpus.

With atheris (`pip install atheris`, Python 3.11 to 3.13) the mutations are guided by coverage of
the parsers; without it, or with `--random`, they are random. The parsers run in processes, which
are started again if they hang or crash. The parser `shd` has HDF5 in such a process. A file that
ends it, or fills its memory, is a finding only if `read_shd`, which has another process with limits
for each file, does not refuse it in time.

The executions and the findings are printed, and with `--record` appended to the rows of the trials:

    taskset -c 0 nice -n 10 python tests/fuzz_files.py --seconds 3600 --record
    python tests/fuzz_files.py --only npz wav --seconds 60
    python tests/fuzz_files.py --replay npz FILE     # the result or the error of one input
"""

import argparse
import contextlib
import faulthandler
import importlib.metadata
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SECONDS = 5  # of the processor for one execution
PATIENCE = 120  # seconds without an execution, after which a process is ended
MAX_BYTES = 2**22  # given to the readers
MEMORY = 16 * MAX_BYTES + 2**24  # bytes of one execution
COUNTED = ("executions", "accepted", "refused")
IMPORTED = {"pillow": "PIL"}
PARSING = ("stbp_jax.data", "stbp_jax.training.checkpoint", "zipfile", "gzip")


def instrument():
    """Let atheris see the branches of the parsers, and of what they call."""
    import atheris

    modules = [module for name, module in list(sys.modules.items()) if name.startswith(PARSING)]
    for module in modules:
        classes = [thing for thing in vars(module).values() if isinstance(thing, type)]
        for place in (module, *classes):
            for thing in list(vars(place).values()):
                if isinstance(thing, types.FunctionType) and thing.__module__ == module.__name__:
                    atheris.instrument_func(thing)


def mutate(rng, seeds):
    """One of the seeds with bytes set, flipped, cut, inserted, copied, or joined to another."""
    out = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, len(out) + 1))
        if rng.random() < 0.3:
            at = min(at, int(rng.integers(0, 64)))  # headers
        size = int(rng.integers(1, 9))
        kind = rng.integers(0, 8)
        if kind == 0:
            out[at : at + 1] = rng.bytes(1)
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            del out[at : at + size]
        elif kind == 3:
            out[at:at] = rng.bytes(size)
        elif kind == 4:
            number = int(rng.choice([0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31, 2**32 - 1]))
            out[at : at + 4] = number.to_bytes(4, ("little", "big")[int(rng.integers(2))])
        elif kind == 5:
            start = int(rng.integers(0, len(out) + 1))
            out[at : at + size] = out[start : start + size]
        elif kind == 6 and rng.random() < 0.2:
            del out[at:]
        elif kind == 7 and rng.random() < 0.2:
            out = out[:at] + seeds[rng.integers(len(seeds))][at:]
    return bytes(out)


class Watch:
    """Runs parsers on one input after another, and writes down what they must not do.

    The counts and the input at hand lie in files, so that they outlive the process.
    """

    def __init__(self, parsers, folder):
        self.parsers, self.folder, self.seen = parsers, folder, set()
        shape = (len(parsers), len(COUNTED))
        if not (folder / "counts").exists():
            (folder / "counts").write_bytes(bytes(8 * shape[0] * shape[1]))
        self.counts = np.memmap(folder / "counts", np.int64, "r+", shape=shape)

    def __call__(self, which, content):
        parser, place = self.parsers[which], self.folder / str(which)
        place.mkdir(exist_ok=True)
        (self.folder / "now").write_bytes(bytes([which]) + content)
        self.counts[which, 0] += 1
        before, started = peak_memory(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        column = 2
        try:
            parser.read(content, place)
            column = 1
        except (ValueError, OSError) as error:
            if str(place) not in str(error):
                self.find(parser, content, "the error does not name the file", error)
        except Exception as error:
            self.find(parser, content, "another exception", error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self.counts[which, column] += 1
        taken, size = time.process_time() - started, peak_memory() - before
        if size > MEMORY and not refused_in_full(parser.name, content, place):
            self.find(parser, content, f"{size} bytes of memory")
        if taken > SECONDS / 2:
            self.find(parser, content, f"{taken:.0f} s of the processor")

    def find(self, parser, content, what, error=None):
        where = traceback.extract_tb(error.__traceback__)[-1] if error else None
        kind = (parser.name, type(error), where and (where.filename, where.lineno))
        if kind not in self.seen:
            self.seen.add(kind)
            note(self.folder, parser.name, what + (f": {error!r:.300}" if error else ""), content)


def note(folder, name, what, content):
    """Write down a finding, and keep its input."""
    kept = Path(tempfile.gettempdir(), f"fuzz-{name.replace(' ', '-')}-{time.time_ns()}")
    kept.write_bytes(content)
    with (folder / "findings").open("a") as log:
        log.write(json.dumps({"parser": name, "what": what, "input": str(kept)}) + "\n")


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(parsers, folder, *, seed=0, executions=None, seconds=None, guided=False):
    """Run parsers on mutated files until a number of executions or a time; returns the counts."""
    warnings.simplefilter("ignore")  # of Pillow
    watch, rng = Watch(parsers, folder), np.random.default_rng(seed)
    seeds = [one.seeds() for one in parsers]
    for which, contents in enumerate(seeds):
        for content in contents:  # the first reads import packages and start JAX
            with contextlib.suppress(ValueError):
                parsers[which].read(content, folder)
    started = time.time()
    if guided:
        import atheris

        instrument()
        corpus = folder / "corpus"
        corpus.mkdir(exist_ok=True)
        for which, contents in enumerate(seeds):  # the first byte chooses the parser
            for n, content in enumerate(contents):
                (corpus / f"seed{which}-{n}").write_bytes(bytes([which]) + content)

        def once(content):
            if content:
                watch(content[0] % len(parsers), content[1:])
            if time.time() - started > seconds:
                os._exit(0)

        longest = 2 * max(len(content) for contents in seeds for content in contents)
        flags = [
            f"-max_len={longest}",
            f"-seed={seed + 1}",
            f"-timeout={PATIENCE}",
            "-rss_limit_mb=0",
        ]
        flags += ["-detect_leaks=0", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], str(corpus), *flags], once)
        atheris.Fuzz()
    done = 0
    while done != executions and (seconds is None or time.time() - started < seconds):
        which = done % len(parsers)
        watch(which, mutate(rng, seeds[which]))
        done += 1
    return watch.counts


def supervise(parsers, seconds, folder, seed, guided):
    """Fuzz parsers in a process that may die; their counts, and how often it was ended."""
    folder.mkdir()
    deadline, ended = time.time() + seconds, 0
    while (left := deadline - time.time()) > 0:
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException), (folder / "log").open("wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                faulthandler.enable(log)
                faulthandler.register(signal.SIGPROF, log, chain=True)
                try:
                    fuzz(parsers, folder, seed=seed + ended, seconds=left, guided=guided)
                    status = 0
                except BaseException:
                    traceback.print_exc()
            os._exit(status)
        status = waited(child, folder / "now")
        if status == 0:
            break
        last = " ".join((folder / "log").read_text(errors="replace").split())[-300:]
        if not (folder / "now").exists():
            raise RuntimeError(f"the process did not start: {last}")
        ended += 1
        which, content = (folder / "now").read_bytes()[0], (folder / "now").read_bytes()[1:]
        if not refused_in_full(parsers[which].name, content, folder):
            what = f"the process ended with status {status}: {last}"
            note(folder, parsers[which].name, what, content)
    counts = np.fromfile(folder / "counts", np.int64).reshape(len(parsers), -1).tolist()
    rows = {
        one.name: dict(zip(COUNTED, count, strict=True))
        for one, count in zip(parsers, counts, strict=True)
    }
    if ended:
        rows[parsers[-1].name]["ended"] = ended
    return rows


def waited(child, progress):
    """The exit status of a process, which is killed once it makes no progress."""
    before, since = None, time.time()
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        time.sleep(0.2)
        now = progress.stat().st_mtime_ns if progress.exists() else None
        if now is None or now != before:  # a start may take long
            before, since = now, time.time()
        elif time.time() - since > PATIENCE:
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(found[1])


def refused_in_full(name, content, folder):
    """Whether the public reader, by a process with limits, refuses what HDF5 failed on."""
    from tests.fuzz_parsers import PARSERS

    if name != "shd":
        return False
    try:
        PARSERS["shd by its process"].read(content, folder)
    except ValueError:
        return True
    return False


def record(counts, findings, seconds, guided, only):
    """Append a row to those of the trials."""
    sys.path.insert(0, str(ROOT / "tests" / "trials"))
    from record import record

    kind = "guided by coverage" if guided else "random"
    record(
        f"mutated files, {kind}, {', '.join(only) if only else 'every parser'}",
        "read, or refused by name, within the limits",
        tries=sum(count["executions"] for count in counts.values()),
        failures=len(findings),
        **found(counts, findings, seconds),
    )


def found(counts, findings, seconds):
    """What a row holds beside its number of executions."""
    packages = ("numpy", "h5py", "pillow", "atheris")
    held = [name for name in packages if importlib.util.find_spec(IMPORTED.get(name, name))]
    return {
        "seconds": round(seconds),
        "executions": {name: count["executions"] for name, count in counts.items()},
        "read": sum(count["accepted"] for count in counts.values()),
        "refused": sum(count["refused"] for count in counts.values()),
        "processes_ended_by_hdf5": counts.get("shd", {}).get("ended", 0),
        "findings": findings,
        "versions": {name: importlib.metadata.version(name) for name in held},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--only", nargs="*", metavar="PARSER")
    parser.add_argument("--random", action="store_true", help="without atheris")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="a row in tests/trials/rows.jsonl")
    parser.add_argument("--replay", nargs=2, metavar=("PARSER", "FILE"))
    args = parser.parse_args()
    from tests.fuzz_parsers import PARSERS

    if args.replay:
        name, file = args.replay
        with tempfile.TemporaryDirectory() as folder:
            try:
                PARSERS[name].read(Path(file).read_bytes(), Path(folder))
            except (ValueError, OSError) as error:
                print("refused:", error)
            else:
                print("accepted")
        return
    names = args.only or list(PARSERS)
    guided = not args.random and importlib.util.find_spec("atheris") is not None
    # HDF5 ends its process now and then, and the slow parser would hold up all others.
    alone = [[name] for name in names if name.startswith("shd")]
    groups = [group for group in ([n for n in names if [n] not in alone], *alone) if group]
    weights = [1 if group in alone else 8 for group in groups]
    started, counts, findings = time.time(), {}, []
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=in_memory) as folder:
        for n, (group, weight) in enumerate(zip(groups, weights, strict=True)):
            place, seconds = Path(folder, str(n)), args.seconds * weight / sum(weights)
            chosen = [PARSERS[name] for name in group]
            counts |= supervise(chosen, seconds, place, args.seed, guided)
            print(json.dumps(counts), file=sys.stderr, flush=True)
            if (place / "findings").exists():
                findings += map(json.loads, (place / "findings").read_text().splitlines())
    seconds = time.time() - started
    print(json.dumps(found(counts, findings, seconds)))
    if args.record:
        record(counts, findings, seconds, guided, args.only)


if __name__ == "__main__":
    main()
