"""Execute the walkthrough, and write it as a notebook with all that it prints and draws.

    python -m experiments.build_notebook            # writes experiments/walkthrough.ipynb
    python -m experiments.build_notebook --check    # executes it, and writes nothing

Hardware: 2 cores of an AMD EPYC with AVX512-BF16. 144 s of processor time; 160 s beside other
work on the same cores.

`walkthrough.py`, in jupytext's percent format, is what is edited. Its notebook holds nothing that
changes without a reason: no times, no counters of sessions, and names of cells that depend on what
is in them.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import jupytext
import nbformat
import tyro
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

from bertjax.checkpoints.atomic import write_text
from bertjax.cli import STYLE

SOURCE = Path(__file__).with_name("walkthrough.py")
TARGET = SOURCE.with_suffix(".ipynb")

_PATIENCE = 600  # seconds that a cell gets; an idle machine needs a tenth
_KERNEL = "python3"  # of the environment that this runs in
# Seconds in which a kernel may end by itself; one that is killed leaves its temporary folder.
_SHUTDOWN = Config({"KernelManager": {"shutdown_wait_time": 60.0}})
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": _KERNEL},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class BuildConfig:
    """Execute the walkthrough, and write it as a notebook."""

    check: bool = False
    """Write nothing: whether it runs is all that is asked."""


def read_source(path: Path) -> NotebookNode:
    """The notebook of a text script, without outputs."""
    notebook = jupytext.read(path, fmt="py:percent")
    for cell in notebook.cells:
        cell.id = sha256(cell.source.encode()).hexdigest()[:8]
        cell.metadata = NotebookNode()
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def execute(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its outputs, executed in an empty folder.

    Raises:
        CellExecutionError: a cell has failed; the message holds the cell and what it raised.
    """
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=_PATIENCE,
            kernel_name=_KERNEL,
            record_timing=False,
            coalesce_streams=True,
            config=_SHUTDOWN,
            resources={"metadata": {"path": folder}},
        )
        executed = client.execute(env=_environment())
    executed.metadata = nbformat.from_dict(_METADATA)  # the kernel has added its version
    return executed


def _environment() -> dict[str, str]:
    """This process's, with the library that stands beside this file, and with tracking."""
    root = str(SOURCE.parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if name != "BERTJAX_TRACK"}
    # Else the debugger of kernels, which nobody asks for here, warns of Python's frozen modules.
    return {**kept, "PYTHONPATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    prog = "python -m experiments.build_notebook"
    config = tyro.cli(BuildConfig, prog=prog, args=arguments, config=STYLE)
    executed = execute(read_source(SOURCE))
    nbformat.validate(executed)
    if not config.check:
        write_text(TARGET, nbformat.writes(executed) + "\n")
        print(f"wrote {TARGET.name}: {len(executed.cells)} cells", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
