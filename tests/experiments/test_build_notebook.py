"""A text script becomes a notebook with outputs, or an error."""

import os

import pytest
from nbclient.exceptions import CellExecutionError

from experiments import build_notebook
from experiments.build_notebook import execute, main, read_source

SCRIPT = """# %% [markdown]
# # A title
#
# And a sentence.

# %%
import os
from pathlib import Path

print(sorted(path.name for path in Path().iterdir()))
print(os.environ.get("BERTJAX_TRACK"))

# %%
import sys

print("one")
print("two", file=sys.stdout)
6 * 7
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(build_notebook, "SOURCE", path)
    monkeypatch.setattr(build_notebook, "TARGET", tmp_path / "script.ipynb")
    return path


def test_cells_have_names_that_depend_on_what_is_in_them(source):
    before = [cell.id for cell in read_source(source).cells]
    assert len(set(before)) == 3
    source.write_text(SCRIPT.replace("6 * 7", "6 * 8"), encoding="utf-8")
    after = [cell.id for cell in read_source(source).cells]
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_it_is_executed_in_an_empty_folder_and_tracks_and_keeps_no_times(source):
    assert os.environ["BERTJAX_TRACK"] == "0"  # of the tests
    text, first, second = execute(read_source(source)).cells
    assert (text.cell_type, text.source) == ("markdown", "# A title\n\nAnd a sentence.")
    (printed,) = first.outputs
    assert (printed.name, printed.text) == ("stdout", "[]\nNone\n")
    printed, value = second.outputs
    assert printed.text == "one\ntwo\n"
    assert value.data["text/plain"] == "42"
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert first.metadata == second.metadata == {}


def test_twice_gives_the_same_file(source):
    assert main([]) == 0
    before = build_notebook.TARGET.read_bytes()
    assert main([]) == 0
    assert build_notebook.TARGET.read_bytes() == before


def test_a_cell_that_fails_is_an_error_and_nothing_is_written(source):
    source.write_text("# %%\nprint(1)\n\n# %%\nraise ValueError('so')\n", encoding="utf-8")
    with pytest.raises(CellExecutionError, match=r"raise ValueError\('so'\)"):
        main([])
    assert not build_notebook.TARGET.exists()


def test_a_check_writes_nothing(source):
    assert main(["--check"]) == 0
    assert not build_notebook.TARGET.exists()
