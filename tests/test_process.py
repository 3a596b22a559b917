"""What the command sets for its process, and that the library sets nothing."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from bertjax import process

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the setting is glibc's; elsewhere it does nothing"
)
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def users_environment() -> dict[str, str]:
    """That of a user who has set nothing on compilation or memory."""
    ours = ("JAX_COMPILATION", "JAX_PERSISTENT", "GLIBC_TUNABLES")
    return {name: v for name, v in os.environ.items() if not name.startswith(ours)}


def run_python(program: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.check_output(command, text=True, env=users_environment() | variables)


FAULTS = """
import resource, sys
import numpy as np
if sys.argv[1] != "default":
    import bertjax.process
    getattr(bertjax.process, sys.argv[1])()
np.ones(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@needs_glibc
def test_freed_memory_is_kept_for_the_next_step():
    """Five arrays of 128 MB, one after another: 160,000 pages if each is mapped anew."""
    ways = ("tune_malloc", "keep_memory", "default")
    faults = {way: int(run_python(FAULTS, way)) for way in ways}
    assert faults["tune_malloc"] < 0.1 * faults["default"]
    assert faults["keep_memory"] < 0.1 * faults["default"]


HUGE = """
from bertjax.process import tune_malloc
tune_malloc()
import numpy as np
array = np.ones(32_000_000)
print(open("/proc/self/smaps_rollup").read())
"""


@needs_glibc
@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(), reason="the kernel has none"
)
def test_an_array_lies_in_huge_pages():
    """Of 256 MB; what is free of 2 MB pages on a busy machine may not be all of it."""
    line = next(x for x in run_python(HUGE).splitlines() if x.startswith("AnonHugePages"))
    assert int(line.split()[1]) > 100_000  # kB


SMALL_PIECES = ("tcache_count", "mxfast")
STEPS = """
import ctypes
from bertjax.process import tune_malloc
tune_malloc()
libc = ctypes.CDLL("libc.so.6")
libc.aligned_alloc.restype = ctypes.c_void_p
libc.aligned_alloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 50 * 2**20
for step in range(20):
    buffer = libc.aligned_alloc(64, size)
    ctypes.memset(ctypes.c_void_p(buffer), 1, size)
    libc.free(buffer)
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM")))
"""


@needs_glibc
def test_the_buffer_of_a_step_goes_where_the_last_one_was():
    """20 of 50 MB, 64-byte aligned as XLA's. Without the settings on small pieces it does not."""
    others = [f"{name}={v}" for name, v in process.MALLOC.items() if name not in SMALL_PIECES]
    tunables = ":".join(f"glibc.malloc.{setting}" for setting in others)
    assert int(run_python(STEPS)) < 200  # MB
    assert int(run_python(STEPS, GLIBC_TUNABLES=tunables)) > 300


HEAPS = """
import ctypes, sys, threading
import bertjax.process
getattr(bertjax.process, sys.argv[1])()
libc = ctypes.CDLL("libc.so.6")
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
both = threading.Barrier(2)
threads = [threading.Thread(target=lambda: libc.malloc(1000) and both.wait()) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, libc.fopen(b"/dev/stdout", b"w"))
libc.fflush(None)
"""


@needs_glibc
def test_threads_that_compile_do_not_wait_for_each_others_heap():
    """In a script all have one, since a step may run in any of them."""
    heaps = {way: run_python(HEAPS, way).count("<heap") for way in ("tune_malloc", "keep_memory")}
    assert heaps["keep_memory"] == 1
    assert heaps["tune_malloc"] > 1


IN_TURN = """
import sys
from bertjax.process import run_in_turn
if sys.argv[1] == "training":
    run_in_turn()
import jax, jax.numpy as jnp
x = jnp.ones((512, 512))
long = jax.jit(lambda x: jax.lax.fori_loop(0, 200, lambda i, x: jnp.tanh(x @ x), x))
program = long.lower(x).compile()
x.block_until_ready()
print(program(x).is_ready())
"""


def test_a_training_runs_a_step_in_the_thread_that_calls_it():
    ready = {who: run_python(IN_TURN, who, JAX_PLATFORMS="cpu") for who in ("training", "library")}
    assert {who: printed.strip() for who, printed in ready.items()} == {
        "training": "True",
        "library": "False",
    }


def test_the_command_leaves_the_users_settings_and_those_of_its_children_alone():
    program = "from bertjax.process import tune_malloc; tune_malloc(); import os; print({})"
    printed = program.format("os.environ.get('GLIBC_TUNABLES')")
    assert run_python(printed).strip() == "None"
    theirs = "glibc.malloc.arena_max=2"
    assert run_python(printed, GLIBC_TUNABLES=theirs).strip() == theirs


COLLECTIONS = """
import atexit, gc, sys
import bertjax.__main__

looks = []
gc.callbacks.append(lambda phase, info: looks.append(phase))
atexit.register(lambda: print(len(looks), len(gc.get_objects()), gc.get_freeze_count()))
if sys.argv.pop(1) == "command":
    bertjax.__main__.main()
else:
    import bertjax.cli
"""


def test_the_command_looks_for_cycles_seldom_and_not_at_its_end():
    """The library does as Python does."""

    def counts(kind: str) -> list[int]:
        printed = run_python(COLLECTIONS, kind, "--help", GLIBC_TUNABLES="")
        return [int(count) for count in printed.splitlines()[-1].split()]

    looks, left, frozen = counts("command")
    library_looks, library_left, library_frozen = counts("library")
    assert looks < 0.1 * library_looks
    assert left < 0.1 * frozen
    assert library_left > 10_000
    assert library_frozen == 0


HOLES = """
import sys
from bertjax.process import return_memory_of_compilation, tune_malloc
tune_malloc()
return_memory_of_compilation()
import jax

def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytearray(b"1" * 2**20) for _ in range(300)]
del blocks[::2], blocks[-1]  # what is left lies between holes
before = resident()
jax.monitoring.record_event_duration_secs(sys.argv[1], float(sys.argv[2]))
print(before - resident())
"""


@needs_glibc
def test_what_a_compilation_has_freed_goes_back_to_the_system():
    """150 holes of 1 MB."""
    event = process._COMPILED
    assert int(run_python(HOLES, event, "2.0")) > 75 * 2**20
    assert int(run_python(HOLES, event, "0.1")) < 2**20  # not after each of many small programs


def test_jax_reports_its_compilations():
    seen = []

    def listen(event: str, seconds: float, **_) -> None:
        seen.append((event, seconds))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.jit(lambda x: x + 17.5).lower(1.0).compile()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert any(event == process._COMPILED and seconds > 0 for event, seconds in seen)


def kept_by(home: Path, enabled: str, *command: str) -> set[str]:
    """The files of the cache after a run of the command."""
    cache = {"HOME": str(home), "XDG_CACHE_HOME": "", "JAX_ENABLE_COMPILATION_CACHE": enabled}
    program = [sys.executable, "-m", "bertjax", *command]
    subprocess.run(program, check=True, env=users_environment() | cache, capture_output=True)
    return {path.name for path in (home / ".cache" / "bertjax" / "compiled").rglob("*-cache")}


def test_a_second_run_of_the_command_compiles_nothing(tiny_folder, table_file, tmp_path):
    """All that is compiled is kept, so nothing new may be there, for another schedule neither."""
    columns = ["--text", "title", "description", "--label", "tag"]
    places = ["--checkpoint", str(tiny_folder), "--out", str(tmp_path / "run"), "--overwrite"]
    command = ("finetune", str(table_file), *columns, *places)
    longer = ("--epochs", "2", "--learning-rate", "1e-3", "--warmup", "0.3", "--clip-norm", "2")
    first = kept_by(tmp_path, "true", *command, "--epochs", "1")
    second = kept_by(tmp_path, "true", *command, *longer, "--weight-decay", "0.1")
    assert any(name.startswith("jit_step-") for name in first)
    assert second == first


def test_the_cache_can_be_turned_off(run_folder, tmp_path):
    command = ("predict", str(run_folder), "--text", "a cat")
    assert kept_by(tmp_path, "false", *command) == set()
    assert kept_by(tmp_path, "true", *command) != set()


LIBRARY = """
import sys
import jax
import bertjax
bertjax.Predictor.load(sys.argv[1]).probabilities(["a cat"])
print(jax.config.jax_compilation_cache_dir)
"""


def test_the_library_keeps_no_compiled_programs(run_folder):
    assert run_python(LIBRARY, str(run_folder)).strip() == "None"


def test_a_folder_of_the_user_s_stays(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "5")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
    process.cache_compilations()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "5"


def test_other_processors_have_other_folders(monkeypatch):
    here = process._cache_folder()
    monkeypatch.setattr(process, "_processor", lambda: "flags: amx_bf16")
    assert process._cache_folder() != here
    assert process._cache_folder().parent == here.parent


@pytest.mark.parametrize(("given", "kept"), [(None, "3"), ("1", "3"), ("0", "0"), ("2", "2")])
def test_alarms_of_xla_are_hidden_unless_they_are_asked_for(monkeypatch, given, kept):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if given is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", given)
    process.hide_false_alarms()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == kept
