"""From a table to a report, and what a table that is no good gets."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bertjax.cli import main
from bertjax.data.duplicates import exact_groups, near_groups
from bertjax.data.exploration import class_counts, frequent_words
from bertjax.data.scripts import script_counts
from bertjax.data.splits import split_rows
from bertjax.errors import UserError
from bertjax.workflows.explore import explore
from bertjax.workflows.explore_configs import ExploreConfig
from bertjax.workflows.explore_facts import read_rows

LONG = "the horse of the bank was seen in the rain by all people of the town on a day of snow"


@pytest.fixture
def config(table_file: Path, tiny_folder: Path, tmp_path: Path) -> ExploreConfig:
    return ExploreConfig(
        data=str(table_file),
        out=tmp_path / "report",
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        precision="float32",
    )


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Figures are composed, but not drawn as PNG."""
    monkeypatch.setattr("bertjax.workflows.report_folder.write_png", lambda figure, folder: None)


@pytest.fixture
def quick(config: ExploreConfig, undrawn) -> ExploreConfig:
    """Without a model."""
    return replace(config, checkpoint="none")


def write(path: Path, rows: list[tuple[str, ...]], header=("text", "label")) -> str:
    """A table as .jsonl, which takes any text."""
    lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_the_json_holds_what_the_functions_give(config):
    facts = explore(config)
    rows = read_rows(config)
    assert json.loads((config.out / "report.json").read_text(encoding="utf-8")) == facts
    assert facts["data"]["rows"] == 60
    assert (
        facts["classes"] == class_counts(rows.labels) == {"animals": 20, "money": 20, "weather": 20}
    )
    assert facts["duplicates"]["exact"] == exact_groups(rows.texts)
    assert facts["duplicates"]["near"] == near_groups(rows.texts)
    assert facts["scripts"] == script_counts(rows.texts) == {"Latin": 60}
    money = [text for text, label in zip(rows.texts, rows.labels, strict=True) if label == "money"]
    assert facts["words"]["money"] == [list(pair) for pair in frequent_words(money)]
    assert facts["missing"] == {
        "texts": 0,
        "labels": 0,
        "columns": {"title": 0, "description": 0, "tag": 0},
    }
    assert facts["lengths"]["words"]["median"] == 6
    tokens = facts["lengths"]["tokens"]
    assert (tokens["max"], tokens["limit"], tokens["over_limit"]) == (8, 128, 0)
    train, test = split_rows(rows.labels, 0.2, 0)
    assert facts["leakage"]["test_rows"] == len(test)
    leaked = {leak["row"] for kind in ("exact", "near") for leak in facts["leakage"][kind]}
    assert leaked <= set(test.tolist())
    assert {leak["like"] for leak in facts["leakage"]["near"]} <= set(train.tolist())


def test_the_folder_holds_a_page_and_a_picture_of_each_figure(config):
    explore(config)
    assert {path.name for path in config.out.iterdir()} == {"report.html", "report.json", "figures"}
    names = {path.stem for path in (config.out / "figures").iterdir()}
    classes = {f"{kind}-{number}" for kind in ("words", "cloud") for number in range(3)}
    assert names == {"classes", "map", "lengths-words", "lengths-tokens", "scripts", *classes}
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert page.count("<circle") == 61  # a ring marks the one that is read


def test_near_points_of_the_map_mean_something_similar(config, undrawn):
    facts = explore(config)
    found = facts["map"]
    assert found["method"] == "PCA"
    assert found["rows"] == list(range(60))
    places = np.array([found["x"], found["y"]]).T
    groups = np.arange(60) % 3  # the classes of the rows
    centres = np.array([places[groups == group].mean(axis=0) for group in range(3)])
    within = np.linalg.norm(places - centres[groups], axis=1).mean()
    between = np.linalg.norm(centres[0] - centres[1])
    assert between > within


def test_of_many_texts_some_are_drawn_for_the_map(config, undrawn):
    found = explore(replace(config, limit=10))["map"]
    assert len(found["rows"]) == len(set(found["rows"])) == 10
    assert found["rows"] == explore(replace(config, limit=10, overwrite=True))["map"]["rows"]


def test_umap_makes_the_map_where_it_is_installed(config, undrawn, monkeypatch):
    class UMAP:
        def __init__(self, **settings):
            assert settings["random_state"] == 0

        def fit_transform(self, embeddings):
            return embeddings[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP, __spec__=object()))
    assert explore(replace(config, map="umap"))["map"]["method"] == "UMAP"


def test_a_checkpoint_with_a_trained_head_will_do(
    config, undrawn, write_model, packaged_folder, tmp_path_factory
):
    fields = {"num_hidden_layers": 1, "id2label": ("a", "b")}
    folder = tmp_path_factory.mktemp("classifier") / "model"
    write_model(folder, "text-classification", packaged_folder, **fields)
    facts = explore(replace(config, checkpoint=str(folder)))
    assert len(facts["map"]["x"]) == 60


def test_duplicates_conflicts_and_leaks_are_found(quick, tmp_path):
    rows = [(f"{word} {word * 3}", "ab"[n % 2]) for n, word in enumerate("pqrstuvwxy")]
    rows += [
        ("Same text", "a"),
        ("same text!", "b"),
        (LONG, "a"),
        (LONG.replace("day", "night"), "a"),
    ]
    data = write(tmp_path / "train.jsonl", rows)
    other = write(tmp_path / "test.jsonl", [("new", "a"), ("SAME TEXT", "a"), (LONG[:-3], "b")])
    facts = explore(replace(quick, data=data, text=("text",), label=None, against=other))
    assert facts["duplicates"]["exact"] == facts["conflicts"] == [[10, 11]]
    assert facts["duplicates"]["near"] == [[12, 13]]
    assert facts["leakage"] == {
        "test": other,
        "train_rows": 14,
        "test_rows": 3,
        "exact": [{"row": 1, "like": 10}],
        "near": [{"row": 2, "like": 12}],
    }
    page = (quick.out / "report.html").read_text(encoding="utf-8")
    assert "2 of 3 test rows nearly or wholly repeat a row that is trained on." in page
    assert "1 text with more than one label." in page


def test_hostile_texts_and_letters_of_all_kinds(config, tmp_path):
    quick = replace(config, checkpoint="none")
    script = "<script>alert(1)</script>"
    texts = [
        script,
        "人工智能",
        "emoji 🎉",
        "\ud800 lone",
        "nul \x00",
        "$x$ \\frac",
        "word " * 3000,
    ]
    rows = [(text, f"{script}{number % 2}") for number, text in enumerate(texts * 2)]
    data = write(tmp_path / "table.jsonl", rows)
    facts = explore(replace(quick, data=data, text=("text",), label="label"))
    assert facts["scripts"]["Han"] == 2
    page = (quick.out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


ODD = {
    "one class": ([("a cat", "x"), ("a dog", "x")], "Fewer than two classes"),
    "one row": ([("a cat", "x")], "Fewer than two classes"),
    "empty texts": ([("a cat", "x"), ("", "y")] * 10, "10 empty texts, 50.0% of the rows"),
    "no labels at all": ([("a cat", ""), ("a dog", "")], "2 rows without a label"),
    "small class": (
        [("a cat", "x")] * 5 + [("a dog", "y")] * 5 + [("a cow", "z")],
        "1 class with a single row",
    ),
    "a class a row": ([(f"text {n}", str(n)) for n in range(40)], "is this the label column?"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_table_is_explored_and_told_of(name, quick, tmp_path):
    rows, expected = ODD[name]
    data = write(tmp_path / "table.jsonl", rows)
    explore(replace(quick, data=data, text=("text",), label="label"))
    assert expected in (quick.out / "report.html").read_text(encoding="utf-8")


def test_few_texts_make_no_map(config, undrawn, tmp_path):
    data = write(tmp_path / "table.jsonl", [("a cat", "x"), ("", "y")])
    facts = explore(replace(config, data=data, text=("text",), label="label"))
    assert facts["map"] == {"skipped": "a map needs 3 texts"}
    assert facts["lengths"]["tokens"]["min"] == 2  # [CLS] and [SEP]


def test_equal_texts_make_a_map_of_one_place(config, undrawn, tmp_path):
    data = write(tmp_path / "table.jsonl", [("a cat", "x")] * 5)
    facts = explore(replace(config, data=data, text=("text",), label="label"))
    assert np.allclose(facts["map"]["x"], facts["map"]["x"][0])


def test_labels_are_not_needed(quick):
    facts = explore(replace(quick, label=None))
    assert facts["classes"] is facts["conflicts"] is None
    assert "skipped" in facts["leakage"]
    assert list(facts["words"]) == [""]


REFUSED = {
    "umap": (["--map", "umap"], "--map umap needs the package umap-learn"),
    "text column": (["--text", "headline"], "has no column 'headline'"),
    "label column": (["--label", "tags"], "has no column 'tags'"),
    "test size": (["--test-size", "1"], "--test-size is 1.0, but must lie between 0 and 1"),
    "limit": (["--limit", "1"], "--limit is 1, but must be at least 3"),
    "checkpoint": (
        ["--checkpoint", "no/such/checkpoint"],
        "there is no folder 'no/such/checkpoint'",
    ),
    "against": (["--against", "no/such.csv"], "there is no file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_gets_one_line_and_leaves_nothing(name, quick, monkeypatch, capsys):
    monkeypatch.setattr("bertjax.workflows.explore.find_spec", lambda name: None)
    flags, expected = REFUSED[name]
    given = {"--text": ["title", "description"], "--label": ["tag"], "--checkpoint": ["none"]}
    given[flags[0]] = flags[1:]
    rest = [part for flag, values in given.items() for part in (flag, *values)]
    assert main(["explore", quick.data, "--out", str(quick.out), *rest]) == 2
    shown = capsys.readouterr().err.strip().splitlines()[-1]
    assert shown.startswith("bertjax: ")
    assert expected in shown
    assert list(quick.out.parent.iterdir()) == []


def test_a_table_without_a_text_is_refused(quick, tmp_path):
    data = write(tmp_path / "table.jsonl", [("", "x"), (" ", "y")])
    with pytest.raises(UserError, match="every text is empty in text; name other columns"):
        explore(replace(quick, data=data, text=("text",), label="label"))


def test_a_report_that_exists_is_kept(quick, capsys):
    quick.out.mkdir()
    (quick.out / "keep.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        explore(quick)
    assert [path.name for path in quick.out.iterdir()] == ["keep.txt"]


def test_a_failure_while_writing_leaves_nothing(quick, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("bertjax.workflows.report_folder.write_png", fail)
    with pytest.raises(UserError, match="no space left"):
        explore(quick)
    assert list(quick.out.parent.iterdir()) == []


def test_a_missing_package_is_told(quick, monkeypatch, capsys):
    for module in ("bertjax.workflows.explore", "bertjax.evaluation.clouds"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delitem(sys.modules, "bertjax.workflows.explore_report", raising=False)
    monkeypatch.setitem(sys.modules, "wordcloud", None)
    flags = ["--text", "title", "--label", "tag", "--checkpoint", "none"]
    assert main(["explore", quick.data, "--out", str(quick.out), *flags]) == 2
    expected = "bertjax: this needs the package wordcloud: pip install 'bertjax[report]'"
    assert capsys.readouterr().err.strip() == expected


def test_the_command_ends_with_the_path(quick, capsys):
    flags = ["--text", "title", "--label", "tag", "--checkpoint", "none"]
    assert main(["explore", quick.data, "--out", str(quick.out), *flags]) == 0
    assert capsys.readouterr().err.endswith(f"wrote {quick.out / 'report.html'}\n")
