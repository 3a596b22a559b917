"""What the command sets for its whole process, before anything else; the library sets nothing."""

import ctypes
import gc
import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# XLA's CPU backend allocates its temporary buffers anew for each call. Mapped anew in small pages,
# a step of a small BERT takes about 100,000 page faults: so all memory comes from heaps of huge
# pages, and what is freed stays there. The heaps are several for the threads in which XLA compiles:
# waiting for each other at one, they took half as long again. Of the smallest pieces at most one of
# a size is kept aside. The end of an aligned buffer is such a piece: kept aside, it parts the place
# of a freed buffer from what is free behind it, and the next buffer does not fit there. 0.4 GB more
# at the peak.
MALLOC = {
    "hugetlb": 1,
    "arena_max": 8,
    "mmap_max": 0,
    "trim_threshold": 2**62,  # bytes: never
    "top_pad": 2**26,  # bytes
    "tcache_count": 1,
    "mxfast": 0,
}

# What glibc lets a running process change of these, by its numbers in malloc.h (M_ARENA_MAX ...):
# all but huge pages and the pieces kept aside. One heap: those of other threads than the first hold
# nothing of more than 64 MB, and in a script any thread may run a step; see `run_in_turn`.
_MALLOPT = {-8: 1, -4: MALLOC["mmap_max"], -1: 2**31 - 1, -2: MALLOC["top_pad"]}

_YOUNG = 50_000  # objects that may be new before Python looks for cycles among them; its own: 700

_RESTARTED = "_BERTJAX_RESTARTED"  # glibc may drop its variable: of a program with privileges, say
_LOST = "worker died or was killed|graceful_shutdown failed"
_COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's name of the event
_LONG = 0.2  # seconds of a compilation, or of reading a program, that leaves much


def tune_malloc() -> None:
    """Start the program anew with `MALLOC`, which glibc reads at the start of a process alone.

    To be called before anything else: what was done before is done again. Does nothing where the
    user has set `GLIBC_TUNABLES`, and with another C library.
    """
    if os.environ.pop(_RESTARTED, None):
        os.environ.pop("GLIBC_TUNABLES", None)  # not for the programs that this one starts
    elif "GLIBC_TUNABLES" not in os.environ and has_glibc():
        environment = {**os.environ, "GLIBC_TUNABLES": tunables(), _RESTARTED: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def keep_memory() -> None:
    """Have glibc keep the memory that a step or a call has used for the next one.

    For a program that computes on processors, before it starts JAX; `bertjax` the command does
    more of the kind by itself. By default glibc gives each large buffer back to the system, and
    the next step begins with tens of thousands of page faults. Does nothing with another C library.
    """
    if has_glibc():
        libc = ctypes.CDLL("libc.so.6")
        for parameter, value in _MALLOPT.items():
            libc.mallopt(parameter, value)


def tunables() -> str:
    """`MALLOC` as the value of `GLIBC_TUNABLES`."""
    return ":".join(f"glibc.malloc.{name}={value}" for name, value in MALLOC.items())


def collect_seldom() -> None:
    """Have Python look for cycles of garbage seldom: imports and tracing make next to none.

    They make a million objects that stay, and looking through these took a twentieth of a
    short training's time. To be called before the imports.
    """
    gc.set_threshold(_YOUNG)


def leave_objects() -> None:
    """Have Python not look for cycles among all objects when it exits; they end with the process.

    For the end of a program. What is to be done at exit, such as files to be removed, is done.
    """
    gc.freeze()


def prepare_process() -> None:
    """The other settings, to be made before jax and Ray are imported."""
    cache_compilations()
    hide_false_alarms()
    return_memory_of_compilation()
    hide_lost_processes()


def cache_compilations() -> None:
    """Have JAX keep compiled programs in a folder, so that a second run compiles nothing.

    JAX's own environment variables go before:
    `JAX_COMPILATION_CACHE_DIR` names another folder, `JAX_ENABLE_COMPILATION_CACHE=false` turns it
    off.
    """
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(_cache_folder()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def run_in_turn() -> None:
    """Have XLA run programs for processors in the thread that calls them; imports jax.

    For a training, whose steps follow each other anyway. In another thread a step would take its
    buffers while the one before it still has its own, and from a heap that is too small for them,
    so that they are mapped anew each time: 0.25 GB more at the peak of a small BERT's training.
    To be called before anything is computed.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def hide_false_alarms() -> None:
    """Have XLA print no lines of errors on standard error; what fails raises all the same.

    On some processors it says of each program that it reads from the folder that it may not run on
    this machine, where it was compiled: it compares features of which some are mere preferences.

    XLA reads this when it is loaded; 0 and 2 stay as the user has them.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # JAX's own default, also inherited
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


@contextmanager
def without_warnings_of_xla() -> Iterator[None]:
    """XLA prints errors alone meanwhile, unless it was told what to show. Imports jax.

    While it compiles a program of several allocations: it warns of each buffer that is larger than
    one of them, in dozens of lines, though that is as it should be.
    """
    import jax
    import jaxlib.utils

    config: Any = jax.config  # its settings are unknown to type checkers
    shown = config.jax_logging_level, os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    if shown != ("NOTSET", "1"):  # JAX's own defaults
        yield
        return
    jaxlib.utils.absl_set_min_log_level(2)
    try:
        yield
    finally:
        jaxlib.utils.absl_set_min_log_level(1)


def hide_lost_processes() -> None:
    """Have Ray not print, among the results, that one of its processes has died or was ended.

    We tell of the former, and the latter is as it should be.

    Ray reads this when it is imported.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", _LOST)


def return_memory_of_compilation() -> None:
    """Have glibc return to the system what a compilation has freed; imports jax.

    It leaves holes that are too small for the buffers of a step, which would lie beside them: 0.4
    GB more at the peak of a small BERT's training.
    """
    if not has_glibc():
        return
    malloc_trim = ctypes.CDLL("libc.so.6").malloc_trim

    import jax

    def after(event: str, duration_secs: float, **_) -> None:
        if event == _COMPILED and duration_secs > _LONG:
            malloc_trim(0)

    jax.monitoring.register_event_duration_secs_listener(after)


def has_glibc() -> bool:
    """Whether this process's C library is glibc."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError):  # another system, or another C library
        return False


def _cache_folder() -> Path:
    """One a kind of processor: XLA's programs for CPUs use the instructions of the one at hand."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return caches / "bertjax" / "compiled" / f"{platform.machine()}-{kind}"


def _processor() -> str:
    """What tells processors of different instructions apart."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()
