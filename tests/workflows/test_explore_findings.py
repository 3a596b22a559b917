"""What of a table is told first."""

from typing import Any

from bertjax.workflows.explore_findings import find, surplus


def facts(**changes: Any) -> dict[str, Any]:
    """Of a table of 100 rows with which nothing is wrong."""
    return {
        "data": {"rows": 100},
        "missing": {"texts": 0, "labels": 0},
        "classes": {"a": 60, "b": 40},
        "lengths": {"tokens": {"limit": 512, "over_limit": 0, "max": 60}},
        "scripts": {"Latin": 100},
        "duplicates": {"exact": [], "near": []},
        "conflicts": [],
        "leakage": {"exact": [], "near": [], "test_rows": 20},
        **changes,
    }


def grave(**changes: Any) -> list[str]:
    return [finding.text for finding in find(facts(**changes)) if finding.grave]


def test_of_a_good_table_nothing_is_grave():
    assert grave() == []
    assert len(find(facts())) == 7


def test_what_is_grave_comes_first():
    found = find(facts(conflicts=[[1, 2]], scripts={"Latin": 90, "Han": 10}))
    assert [finding.grave for finding in found[:3]] == [True, True, False]
    assert found[0].text == "1 text with more than one label."
    assert found[1].text.startswith("10 texts not mainly in Latin script (10.0%): choose")


def test_uneven_classes_are_grave_from_ten_times_on():
    assert grave(classes={"a": 100, "b": 10}) == []
    assert grave(classes={"a": 101, "b": 10})[0].startswith(
        "The largest of 2 classes has 10.1 times"
    )


def test_copies_leaks_and_long_texts_are_counted():
    assert grave(duplicates={"exact": [[0, 1, 2], [4, 5]], "near": []}) == [
        "3 surplus copies of texts, and no groups of near duplicates."
    ]
    leaks = {"exact": [{}], "near": [{}, {}], "test_rows": 20}
    assert grave(leakage=leaks)[0].startswith("3 of 20 test rows")
    long = {"tokens": {"limit": 512, "over_limit": 2, "max": 600}}
    assert grave(lengths=long)[0].startswith("2 texts longer than the 512 tokens")


def test_what_was_not_looked_for_is_not_told():
    found = find(
        facts(classes=None, conflicts=None, leakage={"skipped": "x"}, lengths={"tokens": None})
    )
    assert {finding.section for finding in found} == {"missing", "duplicates", "scripts"}


def test_surplus_copies_are_all_but_one_of_each_text():
    assert surplus([[1, 2], [3, 4, 5]]) == 3
