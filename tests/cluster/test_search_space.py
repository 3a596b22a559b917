"""What a search may try: read from texts, refused in a line, sampled by every engine."""

import sys
from pathlib import Path

import pytest

from bertjax.cluster.search_space import (
    Choice,
    Range,
    fixed,
    make_searcher,
    most_epochs,
    parse_space,
    searched,
)
from bertjax.errors import UserError
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.flat_settings import convert
from bertjax.workflows.tune_configs import TuneConfig

BASE = FinetuneConfig(data="sample", out=Path("best"))


def test_the_default_space_is_that_of_the_help():
    assert parse_space((), BASE) == {
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "batch_size": Choice((16, 32, 64)),
        "warmup": Range(0.0, 0.2),
        "weight_decay": Range(0.0, 0.1),
        "dropout": Range(0.0, 0.3),
        "epochs": Choice((2, 4, 6)),
    }


def test_a_change_replaces_one_setting_and_a_single_value_fixes_it():
    space = parse_space(("epochs=2:9", "dropout=0.1", "decay=linear,cosine", "clean=true"), BASE)
    assert space["epochs"] == Range(2, 9)
    assert space["decay"] == Choice(("linear", "cosine"))
    assert fixed(space) == {"dropout": 0.1, "clean": True}
    assert "dropout" not in searched(space)
    assert len(searched(space)) == 6
    assert most_epochs(space) == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-5:1e-3", "--space has no setting 'lr'; known are soft_labels, epochs, batch_size"),
        ("out=a,b", "--space has no setting 'out'"),
        ("seed=1,2", "--space seed: all trials share it; it is set by --seed"),
        ("validation_size=0.1,0.2", "it is set by --validation-size"),
        ("epochs", "--space epochs: give NAME=VALUES"),
        ("epochs=", "--space epochs=: give NAME=VALUES"),
        ("epochs=2,x", "epochs is 'x', but must be a whole number"),
        ("epochs=0,2", "--space epochs=0,2: --epochs is 0, but must be at least 1"),
        ("dropout=0:1", "--space dropout=0:1: --dropout is 1.0, but must be"),
        ("warmup=0.2:0.1", "0.2 is not below 0.1"),
        ("warmup=0:0.1:log", "a range in factors begins above 0"),
        ("warmup=0:0.1:lin", "give LOW:HIGH or LOW:HIGH:log"),
        ("learning_rate=1e-5:inf", "a range needs numbers"),
        ("decay=linear:cosine", "a range needs numbers; give a list"),
        ("clean=false:true", "a range needs numbers"),
    ],
)
def test_what_cannot_be_searched_is_refused(text, expected):
    with pytest.raises(UserError) as refused:
        parse_space((text,), BASE)
    assert expected in str(refused.value)


def test_a_space_with_nothing_to_search_is_refused():
    texts = ["learning_rate=1e-3", "batch_size=8", "warmup=0", "weight_decay=0", "dropout=0"]
    with pytest.raises(UserError, match="fixes every setting"):
        parse_space([*texts, "epochs=2"], BASE)


SPACE = parse_space(("batch_size=4:64:log", "epochs=2:3", "decay=linear,cosine"), BASE)


@pytest.mark.parametrize("search", ["hyperopt", "optuna"])
def test_the_engines_draw_from_the_whole_space_and_from_nothing_else(search):
    config = TuneConfig(data="sample", out=Path("search"), search=search, trials=40)
    searcher = make_searcher(config, concurrent=40)
    searcher.set_search_properties(
        "best", "max", {name: values.domain() for name, values in searched(SPACE).items()}
    )
    drawn = [searcher.suggest(str(number)) for number in range(40)]
    for settings in drawn:
        values = {name: convert(name, value) for name, value in settings.items()}
        assert values.keys() == searched(SPACE).keys()
        assert 1e-5 <= values["learning_rate"] <= 1e-3
        assert 4 <= values["batch_size"] <= 64
        assert values["decay"] in ("linear", "cosine")
    assert {int(settings["epochs"]) for settings in drawn} == {2, 3}  # both ends
    assert min(settings["learning_rate"] for settings in drawn) < 1e-4  # as likely as above it
    assert max(settings["batch_size"] for settings in drawn) > 32


def test_a_seed_draws_the_same_again():
    def draw(seed: int):
        config = TuneConfig(data="sample", out=Path("search"), search="optuna", seed=seed)
        searcher = make_searcher(config, concurrent=2)
        domains = {name: values.domain() for name, values in SPACE.items()}
        searcher.set_search_properties("best", "max", domains)
        return searcher.suggest("first")

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_an_engine_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    config = TuneConfig(data="sample", out=Path("search"), search="optuna")
    with pytest.raises(ModuleNotFoundError) as missing:
        make_searcher(config, concurrent=2)
    assert missing.value.name == "optuna"
