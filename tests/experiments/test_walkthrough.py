"""The notebook is that of the script, and reads well; `make check-notebook` executes it."""

import re

import nbformat
import pytest
from nbformat import NotebookNode

from experiments.build_notebook import SOURCE, TARGET, read_source

CHAPTERS = (
    *("Ingestion", "Cleaning", "Exploration", "Split", "Tokens", "The model"),
    *("A training step, by hand", "Fine-tuning", "Tracking", "Tuning", "Evaluation"),
    *("The threshold rule", "Batch inference", "Serving"),
)
MOST = 10**6  # bytes


@pytest.fixture(scope="module")
def notebook() -> NotebookNode:
    return nbformat.read(TARGET, as_version=4)


@pytest.fixture(scope="module")
def code(notebook) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_its_cells_are_those_of_the_script(notebook):
    cells = [(cell.cell_type, cell.id, cell.source) for cell in notebook.cells]
    source = [(cell.cell_type, cell.id, cell.source) for cell in read_source(SOURCE).cells]
    assert cells == source, "run `make notebook`"


def test_it_is_a_notebook_of_the_current_format(notebook):
    nbformat.validate(notebook)
    assert notebook.nbformat == 4


def test_it_goes_from_the_table_to_the_server(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert tuple(re.findall(r"^## \d+\. (.+)", text, re.MULTILINE)) == CHAPTERS


def test_every_cell_was_executed_once_in_order(code):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_nothing_failed_or_warned(code):
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}


def test_it_tells_nothing_of_the_machine_that_made_it(code):
    for cell in code:
        for output in cell.outputs:
            data = {
                key: value for key, value in output.get("data", {}).items() if "image" not in key
            }
            shown = output.get("text", "") + "".join(data.values())
            assert not re.search(
                r"/(home|root|tmp|work|usr|opt)/|\b20\d\d-\d\d|\d:\d\d:\d\d", shown
            )
        assert cell.metadata == {}


def test_it_has_pictures_and_is_small(code):
    pictures = [
        output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 6
    assert TARGET.stat().st_size < MOST
