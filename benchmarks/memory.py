"""The memory of the process that asks, as Linux counts it."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Memory that is resident now."""
    return _field("VmRSS")


def peak_resident_bytes() -> int:
    """The most that was resident since the start, or since `reset_peak`."""
    return _field("VmHWM")


def reset_peak() -> None:
    """Forget the peak so far: imports may have needed more than they left."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _field(name: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}")
