"""The protocol of one measurement, without JAX, so that every environment can import it.

A call is timed after warm-up and one untimed call in each turn; it blocks until outputs and
gradients are ready. Compilation is a separate number, and all samples are kept. Memory has two
measures: the temporary memory that XLA plans, and, for every framework, the growth of the process
in one call with an allocator that returns every freed block.
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
    """An XLA program, the times of its tracing and compilation, its planned temporary memory."""

    call: Callable[..., Any]
    trace_seconds: float
    compile_seconds: float
    temp_bytes: int | None


def compiled(jitted: Any, *args: Any) -> Compiled:
    """Trace and compile `jax.jit(...)` for these arguments, ahead of its first call."""
    start = time.perf_counter()
    lowered = jitted.lower(*args)
    lowered_at = time.perf_counter()
    call = lowered.compile()
    end = time.perf_counter()
    analysis = call.memory_analysis()
    temp_bytes = None if analysis is None else analysis.temp_size_in_bytes
    return Compiled(call, lowered_at - start, end - lowered_at, temp_bytes)


def sample(run: Run, count: int) -> list[float]:
    """Seconds of `count` successive calls.

    One call before is not counted, because another process had the caches.
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
    """Peak growth of this process in one call, bytes; None if Linux does not report it.

    Memory that is live before the call (inputs, weights) does not count. The call changes and slows
    the allocator of the process permanently, so measure time first. An allocator sometimes keeps a
    freed page, so the result is the highest of three peaks minus the lowest of three starts.
    """
    starts, peaks = [], []
    try:
        _keep_nothing()
        run()  # frees the memory kept so far
        for _ in range(3):
            gc.collect()
            time.sleep(0.05)  # another thread may free buffers
            ctypes.CDLL(None).malloc_trim(0)
            starts.append(_status("VmRSS"))
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
            run()
            peaks.append(_status("VmHWM"))
    except (OSError, AttributeError):
        return None
    return max(peaks) - min(starts)


def device_growth(run: Run) -> int | None:
    """Peak growth on the default device of JAX; `growth` if the device has no statistics.

    The peak covers the whole process, trials of the compiler and warm-up included.
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
    """Make glibc return every larger block to the system when it is freed.

    By default the threshold of glibc rises to 32 MB with the size of freed blocks. Smaller blocks
    then stay resident in the heap, in that of a thread even after `malloc_trim`, and the next call
    seems to need no memory.
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
