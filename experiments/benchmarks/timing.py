"""The protocol of one measurement; imports no JAX, so that every environment can import it.

Decides how a call is timed: after warm-up, blocked on outputs and gradients (the call does that
itself), compiling told apart, one untimed call whenever a process gets its turn, all samples kept.
Memory is told in two ways: what the compiler plans (XLA alone), and by how much the process grows
in one call when its allocator keeps nothing back, which is the same measure for every framework.
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Run = Callable[[], None]


class Compiled(NamedTuple):
    """An XLA program, what it took to make, and the temporary memory that it plans."""

    call: Callable[..., Any]
    seconds: float
    temp_bytes: int | None


def compiled(jitted: Any, *args: Any) -> Compiled:
    """Traces and compiles `jax.jit(...)` for these arguments, ahead of its first call."""
    start = time.perf_counter()
    call = jitted.lower(*args).compile()
    seconds = time.perf_counter() - start
    analysis = call.memory_analysis()
    return Compiled(call, seconds, None if analysis is None else analysis.temp_size_in_bytes)


def sample(run: Run, count: int) -> list[float]:
    """Seconds of `count` calls in a row.

    The call before them is not counted: another process had the caches.
    """
    run()
    seconds = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(count):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    finally:
        gc.enable()
    return seconds


def growth(run: Run) -> int | None:
    """Bytes by which this process grows at most in one call; None where Linux does not tell.

    What is live before the call (inputs, weights) does not count. Changes the process's allocator
    for good, and slows it: measure time before. An allocator now and then keeps a freed page, so
    that this is the highest of three peaks above the lowest of three starts.
    """
    starts, peaks = [], []
    try:
        _keep_nothing()
        run()  # what was kept so far goes back when this call frees it
        for _ in range(3):
            gc.collect()
            time.sleep(0.05)  # buffers may be freed by another thread
            ctypes.CDLL(None).malloc_trim(0)
            starts.append(_status("VmRSS"))
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
            run()
            peaks.append(_status("VmHWM"))
    except (OSError, AttributeError):
        return None
    return max(peaks) - min(starts)


def device_growth(run: Run) -> int | None:
    """The same of JAX's default device, as it tells; `growth` where it does not.

    Its peak is of the process's whole life, what compiling tried out and warm-up included.
    """
    import jax

    stats = jax.local_devices()[0].memory_stats()
    if not stats:
        return growth(run)
    live = stats["bytes_in_use"]
    run()
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else peak - live


def _keep_nothing() -> None:
    """Makes glibc hand every larger block back as it is freed.

    Its own threshold rises to 32 MB with the blocks it sees freed. Smaller ones then stay resident
    in the heap, in that of a thread even after `malloc_trim`, and the next call seems to need none.
    """
    mmap_threshold, trim_threshold = -3, -1  # from malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 2**16)
    libc.mallopt(trim_threshold, 0)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"no {name} in /proc/self/status")


def spread(samples: list[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, middle, high
