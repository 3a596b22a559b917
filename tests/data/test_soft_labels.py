"""Probabilities in columns: what is read, and what is no distribution."""

import numpy as np
import pandas as pd
import pytest

from bertjax.data.soft_labels import soft_classes, soft_column, soft_labels
from bertjax.data.sources import read_table
from bertjax.errors import UserError

LABELS = ["b", "a"]


def frame(**changes) -> pd.DataFrame:
    """Two rows with the numbers 3 and 7, as text, and a column of another label."""
    columns = {
        "tag": LABELS,
        "tag:a": ["0.25", "1.0"],
        "tag:b": ["0.75", "0"],
        "other:c": ["1", "1"],
    }
    columns |= {name.replace("_", ":"): cells for name, cells in changes.items()}
    return pd.DataFrame(columns, index=pd.Index([3, 7]))


def refused(table: pd.DataFrame, labels=LABELS) -> str:
    with pytest.raises(UserError) as caught:
        soft_labels(table, "tag", labels, "weak.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_column_a_class():
    assert soft_column("tag", "a b") == "tag:a b"
    assert soft_classes(["tag:b", "tag", "tag:", "tags:c", "tag:a:d", "text"], "tag") == (
        "a:d",
        "b",
    )
    found = soft_labels(frame(), "tag", LABELS, "weak.csv")
    assert found.classes == ("a", "b")
    assert found.probabilities.dtype == np.float32
    np.testing.assert_array_equal(found.probabilities, [[0.25, 0.75], [1, 0]])


def test_probabilities_that_were_rounded_sum_to_one_again():
    found = soft_labels(frame(tag_c=["0.005", "0"]), "tag", LABELS, "weak.csv")
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found.probabilities[0, 0], 0.25 / 1.005)


RANGE = "but a probability is a number from 0 to 1"
SUMS = "the probabilities tag:CLASS of row 3 sum to"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (["-0.1", "1"], ["1.1", "0"], f"row 3 has '-0.1' in the column 'tag:a', {RANGE}"),
        (LABELS, ["1", "0"], f"row 3 has 'b' in the column 'tag:a', {RANGE} (1 more such row)"),
        (["0", "1"], [None, "0"], f"row 3 has nothing in the column 'tag:b', {RANGE}"),
        (["0", "1"], [1.0, float("nan")], f"row 7 has nothing in the column 'tag:b', {RANGE}"),
        (["0", "1"], ["1", "inf"], f"row 7 has 'inf' in the column 'tag:b', {RANGE}"),
        (["0.25", "1"], ["0.5", "0"], f"{SUMS} 0.75, not to 1"),
        (["0.25", "1"], ["2", "2"], f"{SUMS} 2.25, not to 1 (1 more such row)"),
        (
            ["0.6", "1"],
            ["0.4", "0"],
            "row 3 is 'b' in 'tag', but most probable is 'a': correct both, or train without "
            "--soft-labels",
        ),
    ],
)
def test_what_is_no_distribution_is_refused_with_its_row(a, b, expected):
    assert refused(frame(tag_a=a, tag_b=b)) == f"weak.csv: {expected}"


def test_a_tie_may_carry_either_label():
    even = frame(tag_a=["0.5", "0.5"], tag_b=["0.5", "0.5"])
    assert soft_labels(even, "tag", LABELS, "weak.csv").probabilities.tolist() == [[0.5, 0.5]] * 2


def test_columns_that_are_not_there_are_named():
    assert refused(frame()[["tag", "tag:a"]]) == (
        "weak.csv has no columns tag:CLASS of the probabilities of at least two classes, which "
        "--soft-labels reads and `bertjax label` writes; its columns are 'tag', 'tag:a'"
    )
    assert refused(frame(), ["b", "c"]) == (
        "weak.csv has labels without a column of probabilities: 'c'; there are columns for 'a', 'b'"
    )


def test_rows_without_a_label_need_no_probabilities(tmp_path):
    path = tmp_path / "weak.csv"
    path.write_text("text,tag,tag:a,tag:b\nx,b,0.2,0.8\ny,,,\nz,a,1,0\n")
    table = read_table(str(path), "text", "tag", soft=True)
    assert (table.texts, table.labels, table.dropped) == (["x", "z"], ["b", "a"], 1)
    assert table.soft is not None
    np.testing.assert_allclose(table.soft.probabilities, [[0.2, 0.8], [1, 0]], rtol=1e-6)
    hard = read_table(str(path), "text", "tag")
    assert (hard.soft, hard.fingerprint) == (None, table.fingerprint)
    path.write_text(path.read_text().replace("0.2,0.8", "0.3,0.7"))
    other = read_table(str(path), "text", "tag", soft=True)
    assert other.fingerprint == table.fingerprint
    assert other.soft is not None
    assert other.soft.fingerprint != table.soft.fingerprint
