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


def prepare_process() -> None:
    """All of it; whatever a system does not know is left out."""
    keep_freed_memory()
    cache_compilations()


def keep_freed_memory() -> None:
    """Have glibc take all memory from one heap of huge pages, and keep there what is freed.

    XLA's CPU backend allocates its temporary buffers anew for each call. Mapped anew in small
    pages, a step of a small BERT takes about 100,000 page faults.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, malloc, free, sbrk = libc.mallopt, libc.malloc, libc.free, libc.sbrk
    except (OSError, AttributeError):  # no glibc
        return
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
