"""What a benchmark ran on: hardware, versions, command and date."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bertjax.errors import UserError

PACKAGES = (
    "bertjax",
    "jax",
    "jaxlib",
    "dm-haiku",
    "optax",
    "flax",
    "numpy",
    "safetensors",
    "tokenizers",
    "transformers",
    "torch",
    "accelerate",
    "onnx",
    "onnxruntime",
    "openvino",
    "keras",
    "keras-hub",
    "ray",
    "mlflow",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-cublas-cu12",
    "nvidia-cublas",
    "libtpu",
)

# How variables begin that change what is measured; those that benchmarks set are told by each.
_DECISIVE = ("ATEN_", "DNNL_", "JAX_", "KMP_", "LD_PRELOAD", "MKL_", "OMP_", "ONEDNN_", "TORCH")
_DECISIVE += ("XLA_",)
_FOLDER = re.compile(r"[^\s=:,]*/")

_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_GPU_DRIVER = Path("/proc/driver/nvidia/version")

_CHECKOUT = Path(__file__).parents[1]
_MEASURED = ("bertjax", "benchmarks", ":!benchmarks/results")  # whose changes count


def describe_machine() -> dict[str, Any]:
    """The facts without which a figure means nothing, ready for JSON; memory in bytes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(sys.argv),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "huge_pages": _chosen(_HUGE_PAGES),
        "gpu_driver": _first_line(_GPU_DRIVER),
        "versions": versions(PACKAGES),
        "variables": decisive_variables(),
        **checkout(),
    }


def decisive_variables() -> dict[str, str]:
    """Those of the environment that may change a figure, without the folders of paths in them."""
    found = {k: v for k, v in sorted(os.environ.items()) if k.startswith(_DECISIVE)}
    return {k: _FOLDER.sub("", v) for k, v in found.items()}


def _first_line(path: Path) -> str | None:
    """None where there is no such file."""
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None


def _chosen(path: Path) -> str | None:
    """What stands in brackets, which is how Linux shows the choice: `always [madvise] never`."""
    return (_first_line(path) or "").partition("[")[2].partition("]")[0] or None


def checkout(folder: Path = _CHECKOUT) -> dict[str, Any]:
    """The commit of a git checkout, and whether its code has changes that are not committed.

    Nothing of a folder that is none, or without git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    if not (folder / ".git").exists():  # a folder of another checkout is none
        return {}
    try:
        commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", *_MEASURED)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit, "dirty": bool(changes)}


def command_line(arguments: Sequence[str]) -> str:
    """The command as it can be typed elsewhere: of an absolute path only the last part is kept."""
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = f"-m {module.name}" if module is not None else Path(arguments[0]).name
    rest = [Path(a).name if Path(a).is_absolute() else a for a in arguments[1:]]
    return " ".join(["python", program, *rest])


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, and which of its instructions multiply bfloat16."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = facts.get("flags", "").split()
    short = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    family = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    name = facts.get("model name", platform.machine())
    return f"{name} ({', '.join([family, *short])})"


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def busy_seconds(stat: Path = Path("/proc/stat")) -> float:
    """Of all cores since the start of the machine, those of other guests of the host included."""
    try:
        line = stat.read_text(encoding="ascii").partition("\n")[0]
    except OSError:  # not Linux
        return 0.0
    user, nice, system, _, _, interrupts, soft, stolen = map(int, line.split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def use_cores(count: int) -> None:
    """Keep this process and its children to so many cores, so that all compute with as many.

    Raises:
        UserError: there are fewer.
    """
    if count > usable_cores():
        raise UserError(f"--threads {count} is more than the {usable_cores()} cores there are")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
