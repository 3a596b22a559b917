"""From a table and rules to weak labels, and what rules and tables that are no good get."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bertjax.cli import main
from bertjax.data.sources import read_frame
from bertjax.workflows.label import label, read_rules
from bertjax.workflows.label_configs import LabelConfig

# The last has a cat and a tax, and so a tie; of the gold labels one has no rule.
TABLE = """title,body,tag,gold
cat,a cat on a mat,animals,weather
dog,a dog,animals,
bank,a bank and a tax,money,
tax,a tax on a cat,money,money
rain,rain again,weather,
,the tax on cat litter,animals,
"""
RULES = """
def rule_cat(row):
    return "animals" if "cat" in row.text.split() else None

def rule_title(row):
    return "money" if row.title in ("bank", "tax") else -1

def rule_tax(row):
    return "money" if "tax" in row["body"] else None

def rule_fish(row):
    return "animals" if row.title.startswith("fish") else None
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.py"
    path.write_text(RULES, encoding="utf-8")
    return path


@pytest.fixture
def config(rules: Path, tmp_path: Path) -> LabelConfig:
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8")
    return LabelConfig(
        data=str(path),
        rules=rules,
        text=("title", "body"),
        out=tmp_path / "weak.csv",
        combine="majority",
    )


@pytest.fixture
def refused(config: LabelConfig, capsys) -> Callable[..., str]:
    """(source of the rules, further arguments) -> the one line that is printed."""

    def refuse(source: str | None, *arguments: str, combine: str = "majority") -> str:
        if source is None:
            config.rules.unlink()
        else:
            config.rules.write_text(source, encoding="utf-8")
        fixed = ["label", config.data, "--rules", str(config.rules), "--out", str(config.out)]
        assert main([*fixed, "--combine", combine, "--text", "title", "body", *arguments]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        (line,) = shown.err.splitlines()
        return line.replace(f"{config.rules.parent}/", "")

    return refuse


def test_the_table_gets_labels_and_probabilities(config):
    facts = label(config)
    written = read_frame(str(config.out))
    assert written.title.tolist() == ["cat", "bank", "tax"]
    assert list(written.columns) == [
        *("title", "body", "tag", "gold", "weak_label", "weak_label:animals", "weak_label:money")
    ]
    assert written.weak_label.tolist() == ["animals", "money", "money"]
    shares = written["weak_label:money"].astype(float).tolist()
    assert shares == pytest.approx([0, 1, 2 / 3])
    names = ("labelled", "uncovered", "tied", "written", "combine")
    assert [facts[name] for name in names] == [3, 2, 1, 3, "majority"]
    assert facts["classes"] == {"animals": 1, "money": 2}
    assert facts["data"]["rows"] == 6


def test_rows_without_a_label_may_be_kept_with_empty_cells(config, tmp_path):
    facts = label(replace(config, unlabelled="keep", out=tmp_path / "kept.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert facts["written"] == 6
    found = [row["weak_label"] for row in rows]
    assert found == ["animals", None, "money", "money", None, None]
    assert rows[5]["weak_label:money"] is None
    assert rows[3]["weak_label:money"] == 2 / 3
    label(replace(config, unlabelled="keep", out=tmp_path / "kept.parquet"))
    kept = pd.read_parquet(tmp_path / "kept.parquet")
    assert kept["weak_label:money"].isna().tolist() == [name is None for name in found]


def test_a_second_labelling_replaces_the_columns_of_the_first(config, rules, tmp_path):
    label(config)
    rules.write_text(RULES.replace("money", "finance"), encoding="utf-8")
    again = replace(config, data=str(config.out), out=tmp_path / "again.csv")
    label(again)
    columns = read_frame(str(again.out)).columns
    assert [name for name in columns if name.startswith("weak")] == [
        *("weak_label", "weak_label:animals", "weak_label:finance")
    ]


def test_rules_are_described_beside_true_labels(config):
    facts = label(replace(config, gold="tag", out=None))
    assert not {"out", "written"} & facts.keys()
    assert facts["rules"][0] == {
        "name": "rule_cat",
        "classes": ["animals"],
        "coverage": 3 / 6,
        "overlaps": 2 / 6,
        "conflicts": 2 / 6,
        "faults": 0,
        "first_fault": None,
        "weight": None,
        "accuracy": 2 / 3,
    }
    assert [rule["accuracy"] for rule in facts["rules"]] == [2 / 3, 1, 2 / 3, None]
    assert facts["rules"][3]["classes"] == []
    gold = facts["gold"]
    assert (gold["rows"], gold["compared"], gold["majority_accuracy"]) == (6, 3, 1)


def test_true_labels_of_a_few_rows_are_enough_and_one_without_a_rule_is_wrong(config):
    facts = label(replace(config, gold="gold"))
    assert [rule["accuracy"] for rule in facts["rules"]] == [0, 1, 1, None]
    gold = facts["gold"]
    assert (gold["rows"], gold["compared"], gold["majority_accuracy"]) == (2, 2, 0.5)
    assert gold["scores"]["labels"] == ["animals", "money", "weather"]
    assert gold["scores"]["per_class"]["weather"]["recall"] == 0


def test_the_command_shows_a_table_and_says_what_is_silent(config, capsys):
    fixed = ["label", config.data, "--rules", str(config.rules), "--text", "title", "body"]
    assert main([*fixed, "--combine", "majority", "--gold", "tag"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].split() == [
        *("rule", "votes", "for", "coverage", "overlaps", "conflicts", "faults", "accuracy")
    ]
    assert lines[1].split() == ["rule_cat", "animals", "50.0%", "33.3%", "33.3%", "0", "0.667"]
    assert lines[4].split() == ["rule_fish", "never", "votes", "0.0%", "0.0%", "0.0%", "0", "-"]
    assert "3 of 6 rows labelled by majority of the votes; on 2 no rule votes" in shown.out
    assert "weighted average" in shown.out
    assert shown.err == "no row has a vote of rule_fish\n"
    assert not config.out.exists()


def test_a_rule_that_fails_on_one_row_is_counted_shown_and_not_fatal(config, rules, capsys):
    failing = "def rule_length(row):\n    return 'animals' if 1 / len(row.title) > 5 else None\n"
    rules.write_text(RULES + failing, encoding="utf-8")
    fixed = ["label", config.data, "--rules", str(rules), "--text", "title", "body"]
    assert main([*fixed, "--combine", "majority", "--out", str(config.out), "--json"]) == 0
    shown = capsys.readouterr()
    error = "ZeroDivisionError: division by zero"
    line = f"rule_length failed on 1 of 6 rows, first on row 5: rules.py, line 14, {error}"
    assert line in shown.err.splitlines()
    fault = json.loads(shown.out)["rules"][4]
    assert (fault["faults"], fault["first_fault"]) == (1, {"row": 5, "error": error})
    assert shown.err.splitlines()[-1] == f"wrote 3 rows to {config.out}"


def test_a_rule_that_fails_on_every_row_stops_the_command(refused, config):
    assert refused(RULES + "def rule_x(row):\n    return row.no_such_column\n") == (
        "bertjax: rule_x failed on every row (6), first with rules.py, line 14, AttributeError: "
        "'Series' object has no attribute 'no_such_column'; mend it"
    )
    assert "rule_x() takes 0 positional arguments" in refused("def rule_x():\n    return 1\n")
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, "cannot read the rules in rules.py: No such file or directory; give a Python file"),
        ("def rule_a(:\n", "rules.py, line 1 is not Python: invalid syntax"),
        ("x = 1\n1 / 0\n", "rules.py, line 2, failed: ZeroDivisionError: division by zero"),
        (
            "import no_such_thing\n",
            "rules.py, line 1, imports no_such_thing, which is missing: pip install no_such_thing",
        ),
        (
            "def a(row):\n    return 'a'\n",
            "rules.py has no rule: write functions rule_NAME(row), or Snorkel's labeling functions",
        ),
        (
            "CLASSES = ['a']\ndef rule_a(row):\n    return 0\n",
            'CLASSES of rules.py must be a list of at least two names, as in ["ham", "spam"]',
        ),
        (
            "CLASSES = 'ab'\ndef rule_a(row):\n    return 0\n",
            'CLASSES of rules.py must be a list of at least two names, as in ["ham", "spam"]',
        ),
        (
            "CLASSES = ['a', 'b', 'a']\ndef rule_a(row):\n    return 0\n",
            "CLASSES of rules.py has a name twice: 'a', 'b', 'a'",
        ),
        (
            "CLASSES = ['a', 'b']\ndef rule_a(row):\n    return 'c'\n",
            "rule_a returned 'c' for row 0, but CLASSES are 'a', 'b': return one, or None to "
            "abstain",
        ),
        (
            "def rule_a(row):\n    return 'cat' in row.text\n",
            "rule_a returned True for row 0: a rule returns the name of a class, or None to "
            "abstain",
        ),
        (
            "def rule_a(row):\n    return 'a'\n",
            "in 6 rows the rules vote for 'a' alone: a model learns to tell classes apart, so add "
            "rules or rows for another",
        ),
        ("def rule_a(row):\n    return None\n", "no rule votes on any of 6 rows: widen the rules"),
        (
            "def rule_a(row):\n    return 'a'\ndef rule_b(row):\n    return 'b'\n",
            "the votes tie on every row of table.csv that has any: add rules",
        ),
    ],
)
def test_rules_that_are_no_good_are_one_line(source, expected, refused, config):
    assert refused(source) == f"bertjax: {expected}"
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--text", "titel"],
            "has no column 'titel'; its columns are 'title', 'body', 'tag', 'gold'",
        ),
        (["--gold", "truth"], "has no column 'truth'"),
        (
            ["--gold", "body"],
            "no label of the column 'body' is a class of the rules: they vote for 'animals', "
            "'money', and there is 'a bank and a tax', 'a cat on a mat', 'a dog'",
        ),
        (["--out", "no/such/weak.csv"], "there is no folder"),
        (["--out", "weak.xlsx"], "cannot write weak.xlsx: expected a name that ends in .csv"),
        (["--seed", "-1"], "--seed is -1, but must be at least 0"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(arguments, expected, refused, config):
    # The last of two flags holds.
    assert expected in refused(RULES, *arguments)
    assert not config.out.exists()


def test_an_existing_file_is_kept_unless_told_otherwise(refused, config):
    config.out.write_text("mine")
    assert refused(RULES).endswith(
        "weak.csv exists already: choose another name or pass --overwrite"
    )
    assert config.out.read_text() == "mine"
    assert label(replace(config, overwrite=True))["written"] == 3


def test_the_label_model_needs_snorkel_and_says_so_before_anything_is_read(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "snorkel", None)
    expected = (
        "bertjax: --combine label-model needs the package snorkel: pip install 'bertjax[labels]', "
        "or --combine majority"
    )
    assert refused(RULES, combine="label-model") == expected


def test_two_rules_need_no_label_model(config, rules, capsys):
    rules.write_text(RULES.split("def rule_tax")[0], encoding="utf-8")
    told = []
    facts = label(replace(config, combine="label-model"), told.append)
    assert facts["combine"] == "majority"
    assert told == [
        "the label model needs 3 rules that vote, and there are 2: each vote counts the same, as "
        "with --combine majority"
    ]


def test_texts_may_be_empty_but_not_all_of_them(config, tmp_path, capsys):
    path = tmp_path / "holes.csv"
    path.write_text(TABLE + ",,money,\n", encoding="utf-8")
    facts = label(replace(config, data=str(path)))
    assert (facts["data"]["empty_texts"], facts["written"]) == (1, 3)
    path.write_text("title,body\n,\n,\n", encoding="utf-8")
    fixed = ["label", str(path), "--rules", str(config.rules), "--combine", "majority"]
    assert main([*fixed, "--text", "title", "body"]) == 2
    assert "every text is empty in title, body; name other columns" in capsys.readouterr().err


def test_a_table_of_one_row_is_one_line_or_labelled(config, tmp_path, capsys):
    path = tmp_path / "one.csv"
    path.write_text("title,body\ncat,a cat\n", encoding="utf-8")
    fixed = ["label", str(path), "--rules", str(config.rules), "--combine", "majority"]
    assert main([*fixed, "--text", "title", "body"]) == 2
    assert capsys.readouterr().err == (
        "bertjax: in 1 row the rules vote for 'animals' alone: a model learns to tell classes "
        "apart, so add rules or rows for another\n"
    )


def test_objects_of_snorkels_are_rules_but_slices_and_preprocessors_are_not(rules):
    rules.write_text(
        "class LabelingFunction:\n"
        "    def __init__(self, name): self.name = name\n"
        "    def __call__(self, row): return 1\n"
        "class SlicingFunction(LabelingFunction): pass\n"
        "class BaseMapper(LabelingFunction): pass\n"
        "one = LabelingFunction('votes')\n"
        "two = SlicingFunction('short')\n"
        "three = BaseMapper('lower')\n"
        "CLASSES = ('a', 'b')\n"
    )
    found, classes = read_rules(rules)
    assert list(found) == ["votes"]
    assert classes == ("a", "b")


def test_the_rules_of_the_documentation_are_rules(rules):
    page = (Path(__file__).parents[2] / "docs" / "labelling.md").read_text(encoding="utf-8")
    rules.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    text = ("title", "description")
    config = LabelConfig(
        data="sample", rules=rules, text=text, combine="majority", gold="tag", unlabelled="keep"
    )
    facts = label(config)
    assert [rule["name"] for rule in facts["rules"]] == [
        *("rule_images", "rule_translation", "rule_questions")
    ]
    assert facts["rules"][0]["accuracy"] > 0.8
