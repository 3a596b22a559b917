"""The command with Snorkel's rules and its label model, and a model that learns from them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bertjax.cli import main
from bertjax.data.sources import read_frame
from bertjax.workflows.label import read_rules

RULES = """
from snorkel.labeling import labeling_function
from snorkel.preprocess import preprocessor

CLASSES = ["animals", "money", "weather", "sport"]

@preprocessor()
def first_word(row):
    row.first = row.text.split()[0]
    return row

def knows(word, label):
    @labeling_function(name=f"knows_{word}", pre=[first_word])
    def rule(row):
        return label if row.first == word else -1
    return rule

cat, dog = knows("cat", 0), knows("dog", 0)
bank, tax = knows("bank", 1), knows("tax", 1)
rain, wind = knows("rain", 2), knows("wind", 2)

@labeling_function()
def taxes(row):
    return 1 if "tax" in row["description"] else -1

def rule_snow(row):
    return "weather" if "snow" in row.text else None
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.py"
    path.write_text(RULES, encoding="utf-8")
    return path


def test_a_table_is_labelled_and_learned(rules, table_file, tiny_folder, tmp_path, capsys):
    out = tmp_path / "weak.csv"
    fixed = ["label", str(table_file), "--rules", str(rules), "--text", "title", "description"]
    assert main([*fixed, "--gold", "tag", "--out", str(out), "--json"]) == 0
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert "no rule votes for 'sport', which is left out" in shown.err.splitlines()
    assert [rule["name"] for rule in facts["rules"]] == [
        *(f"knows_{word}" for word in ("cat", "dog", "bank", "tax", "rain", "wind")),
        *("taxes", "rule_snow"),
    ]
    assert facts["combine"] == "label-model"
    assert facts["gold"]["scores"]["accuracy"] == 1.0
    assert all(0 < rule["weight"] <= 1 for rule in facts["rules"])
    assert facts["labelled"] + facts["uncovered"] == 60
    columns = list(read_frame(str(out)).columns)
    assert columns[3:] == [
        "weak_label",
        *(f"weak_label:{c}" for c in ("animals", "money", "weather")),
    ]

    run = tmp_path / "run"
    train = ["finetune", str(out), "--text", "title", "description", "--label", "weak_label"]
    train += ["--soft-labels", "--checkpoint", str(tiny_folder), "--out", str(run)]
    assert main([*train, "--epochs", "1", "--batch-size", "16"]) == 0
    assert "scored against their most probable class" in capsys.readouterr().err
    assert main(["evaluate", str(run), str(table_file), "--label", "tag", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["support"] == 60


def test_the_same_seed_gives_the_same_file(rules, table_file, tmp_path):
    files = []
    for name in ("a.csv", "b.csv"):
        fixed = ["label", str(table_file), "--rules", str(rules), "--text", "title", "description"]
        assert main([*fixed, "--out", str(tmp_path / name), "--seed", "3"]) == 0
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_the_rules_of_the_documentation_are_rules(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "labelling.md").read_text(encoding="utf-8")
    (tmp_path / "rules.py").write_text(page.split("```python\n")[2].split("```")[0])
    found, classes = read_rules(tmp_path / "rules.py")
    assert classes == ("computer-vision", "natural-language-processing")
    (rule,) = found.values()
    assert list(found) == ["has_pixels"]
    assert [rule(SimpleNamespace(text=text)) for text in ("A pixel", "A word")] == [0, -1]
