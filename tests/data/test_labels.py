import numpy as np
import pytest

from bertjax.data.labels import classes_of, encode_labels, quoted
from bertjax.errors import UserError


def test_classes_are_sorted_whatever_the_row_order():
    assert classes_of(["b", "a", "c", "a"]) == classes_of(["c", "a", "b"]) == ("a", "b", "c")


@pytest.mark.parametrize(("labels", "found"), [(["spam"] * 3, "only 'spam' in 3 rows"), ([], "no")])
def test_fewer_than_two_classes_is_an_error_that_names_what_is_there(labels, found):
    with pytest.raises(UserError, match=f"two classes are needed, found {found}"):
        classes_of(labels)


def test_a_label_is_encoded_as_its_place_among_the_classes():
    encoded = encode_labels(["b", "a", "b"], ("a", "b"))
    assert encoded.dtype == np.int32
    assert encoded.tolist() == [1, 0, 1]


def test_a_label_never_seen_in_training_is_listed_beside_the_known_ones():
    with pytest.raises(UserError) as error:
        encode_labels(["a", "z", "x", "z"], ("a", "b"))
    assert "3 of 4 rows carry labels never seen in training: 'x', 'z'; known are 'a', 'b'" in str(
        error.value
    )


def test_quoted_stays_on_one_line_and_folds():
    assert quoted(["a\nb"]) == r"'a\nb'"
    assert quoted(map(str, range(5)), limit=2) == "'0', '1' and 3 more"
    assert len(quoted(["x" * 10_000])) < 70
