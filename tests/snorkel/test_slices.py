"""Slicing functions of Snorkel's, as a user's file holds them, make slices."""

import pandas as pd

from bertjax.evaluation.slices import function_slice
from bertjax.workflows.user_code import callables, load_user_code

SLICES = '''
from snorkel.labeling import labeling_function
from snorkel.preprocess import preprocessor
from snorkel.slicing import slicing_function

@preprocessor()
def counted(x):
    x.words = len(x.text.split())
    return x

@labeling_function()
def no_slice(x):
    return 0

@slicing_function(pre=[counted])
def brief(x):
    """At most two words."""
    return x.words <= 2

@slicing_function()
def about_tax(x):
    if not isinstance(x.title, str):
        raise ValueError("no title")
    return "tax" in x.title

def slice_plain(x):
    return x["text"].startswith("a")
'''


def test_objects_of_snorkels_are_slices_beside_plain_functions(tmp_path):
    path = tmp_path / "slices.py"
    path.write_text(SLICES)
    titles = ["tax", "a long tax", None, "cat"]
    frame = pd.DataFrame({"title": titles, "text": [str(title) for title in titles]}, dtype=object)
    found = callables(load_user_code(path, "slices"), "slice_", "SlicingFunction")
    rows = [row for _, row in frame.iterrows()]
    slices = {name: function_slice(name, function, rows) for name, function in found.items()}
    assert {name: one.rows.tolist() for name, one in slices.items()} == {
        "brief": [True, False, True, True],
        "about_tax": [True, True, False, False],
        "slice_plain": [False, True, False, False],
    }
    assert slices["about_tax"].failed == (2,)
    assert slices["about_tax"].error == "ValueError: no title"
