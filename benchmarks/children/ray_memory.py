"""The memory of Ray's processes, watched while they run."""

import threading
from pathlib import Path


class Watch:
    """The most that any process of Ray's workers on this machine has had resident, in bytes.

    With the pages of the object store that it has looked at, which all of them share; and without.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.own_peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self._look()

    def _look(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cmdline").read_bytes().startswith(b"ray::"):
                    self.peak_bytes = max(self.peak_bytes, peak_of(process))
                    self.own_peak_bytes = max(self.own_peak_bytes, own_of(process))
            except OSError:  # it has ended
                continue


def peak_of(process: Path) -> int:
    """Bytes that a process has had resident at the most."""
    return _bytes_of(process, "VmHWM")


def own_of(process: Path) -> int:
    """Bytes of memory that a process has now, and shares with no other."""
    return _bytes_of(process, "RssAnon")


def _bytes_of(process: Path, name: str) -> int:
    lines = (process / "status").read_text().splitlines()
    found = next((line for line in lines if line.startswith(name)), f"{name}: 0 kB")
    return int(found.split()[1]) * 1024
