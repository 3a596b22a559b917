from pathlib import Path

import pytest

from benchmarks.mixed_texts import mixed_texts
from bertjax.errors import UserError


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    first, second = tmp_path / "a.csv", tmp_path / "b.tsv"
    first.write_text("title,description,tag\none,more,x\ntwo,,y\n")
    second.write_text("sentence\tlabel\nthree\t0\nfour\t1\n")
    return [str(first), str(second)]


COLUMNS = ("sentence", "title", "description")


def test_texts_of_all_tables_come_in_one_order(tables: list[str]) -> None:
    texts = mixed_texts(tables, COLUMNS, 4, seed=0)
    assert sorted(texts) == ["four", "one more", "three", "two"]
    assert mixed_texts(tables, COLUMNS, 4, seed=0) == texts
    assert any(mixed_texts(tables, COLUMNS, 4, seed=seed) != texts for seed in range(1, 5))


def test_few_texts_are_repeated_and_many_are_cut(tables: list[str]) -> None:
    texts = mixed_texts(tables, COLUMNS, 4, seed=0)
    assert mixed_texts(tables, COLUMNS, 10, seed=0) == [*texts, *texts, *texts[:2]]
    assert mixed_texts(tables, COLUMNS, 3, seed=0) == texts[:3]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], "there is no table of texts"),
        (["sample"], "sample has none of the text columns sentence: its columns are"),
        (["absent.csv"], "there is no file 'absent.csv'"),
    ],
)
def test_a_mistake_is_told(data: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        mixed_texts(data, ["sentence"], 3, seed=0)
