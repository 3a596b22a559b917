"""What the command sets for its whole process, before anything else; the library sets nothing."""

import ctypes
import hashlib
import os
import platform
from pathlib import Path

# As malloc.h and mman.h number them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_HUGE_PAGES = 14
_HUGE_PAGE = 2**21  # bytes

_COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's name of the event
_LONG = 0.2  # seconds of a compilation, or of reading a program, that leaves much


def prepare_process() -> None:
    """All of it; whatever a system does not know is left out."""
    keep_freed_memory()
    cache_compilations()
    return_memory_of_compilation()


def keep_freed_memory() -> None:
    """Have glibc take all memory from one heap of huge pages, and keep there what is freed.

    XLA's CPU backend allocates its temporary buffers anew for each call. Mapped anew in small
    pages, a step of a small BERT takes about 100,000 page faults.
    """
    libc = _glibc()
    if libc is None:
        return
    mallopt, malloc, free, sbrk = libc.mallopt, libc.malloc, libc.free, libc.sbrk
    malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    free.argtypes = [ctypes.c_void_p]
    sbrk.argtypes, sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
    mallopt(_ARENA_MAX, 1)
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)  # the largest: never
    mallopt(_TOP_PAD, 2**26)
    # Addresses for half of the machine's memory, which cost nothing until they are used. The heap
    # grows to them once, so that the advice below holds for all that will be allocated there.
    start = sbrk(0)
    free(malloc(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2))
    first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
    if (size := sbrk(0) - first) > 0:
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), _HUGE_PAGES)


def cache_compilations() -> None:
    """Have JAX keep compiled programs in a folder, so that a second run compiles nothing.

    To be called before jax is imported. JAX's own environment variables go before:
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


def return_memory_of_compilation() -> None:
    """Have glibc return to the system what a compilation has freed; imports jax.

    It leaves holes that are too small for the buffers of a step, which would lie beside them: 0.4
    GB more at the peak of a small BERT's training.
    """
    libc = _glibc()
    if libc is None:
        return

    import jax

    def after(event: str, duration_secs: float, **_) -> None:
        if event == _COMPILED and duration_secs > _LONG:
            libc.malloc_trim(0)

    jax.monitoring.register_event_duration_secs_listener(after)


def _glibc() -> ctypes.CDLL | None:
    """None where the C library is another."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim and libc.sbrk else None
    except (OSError, AttributeError):
        return None


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
