"""A recipe is read as it was written, and refused in a line if it cannot be."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.training.configs import OptimizerConfig
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.flat_settings import with_settings
from bertjax.workflows.recipe_file import read_recipe, write_recipe

CONFIG = FinetuneConfig(
    data="sample",
    out=Path("runs/x"),
    text=("title", "body"),
    epochs=7,
    dropout=0.25,
    optimizer=OptimizerConfig(learning_rate=3e-5, decay="cosine"),
)


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "best.json"
    write_recipe(path, replace(CONFIG, overwrite=True))
    values = read_recipe(path)
    assert with_settings(FinetuneConfig(data="", out=CONFIG.out), values) == CONFIG
    assert not {"out", "overwrite", "ray_address", "max_length"} & values.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"epoch": 3, "lr": 1}', "unknown settings: epoch, lr; known are data, out, text"),
        ('{"epochs": "many"}', "epochs is 'many', but must be a whole number"),
        ("[1]", "is not an object of settings"),
        ("{", "is not JSON"),
    ],
)
def test_what_is_no_recipe_is_refused(text, expected, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(UserError, match=expected) as refused:
        read_recipe(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none.json: No such file"):
        read_recipe(tmp_path / "none.json")


def test_it_is_json_with_the_names_of_the_flags(tmp_path):
    path = tmp_path / "best.json"
    write_recipe(path, CONFIG)
    values = json.loads(path.read_text())
    assert values["learning_rate"] == 3e-5
    assert values["text"] == ["title", "body"]
