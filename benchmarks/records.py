"""Results as JSON lines, and as a table on standard output."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertjax.errors import UserError

PLACE = "BERTJAX_BENCHMARK_RESULTS"  # the variable that names another folder
RESULTS = Path(os.environ.get(PLACE) or Path(__file__).parent / "results")


def append_record(name: str, record: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Add one line to `NAME.jsonl`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    line = json.dumps(record, ensure_ascii=False, allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    return path


def read_records(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The lines of `NAME.jsonl`, oldest first; none if there is no such file.

    Raises:
        UserError: a line is not JSON.
    """
    path = folder / f"{name}.jsonl"
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON ({error}): remove it") from None
    return records


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print cells in aligned columns: the first to the left, figures to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it must be: into a file or a pipe nothing may be cut off.
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, Console(width=1000).measure(table).maximum)
    console.print(table)


def ratio(a: float, b: float) -> str:
    """a / b, for a cell."""
    return f"{a / b:.2f}" if b else "-"


def megabytes(count: float) -> str:
    """Bytes in MB (10^6), for a cell."""
    return f"{count / 1e6:,.0f} MB"
