"""Settings by the names of their flags."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.training.configs import OptimizerConfig
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.flat_settings import convert, flat_settings, setting_types, with_settings

CONFIG = FinetuneConfig(data="sample", out=Path("runs/x"))


def test_a_nested_setting_is_read_and_changed_by_its_own_name():
    changed = with_settings(CONFIG, {"learning_rate": 0.5, "epochs": 9})
    assert changed == replace(CONFIG, epochs=9, optimizer=OptimizerConfig(learning_rate=0.5))
    values = flat_settings(changed)
    assert (values["learning_rate"], values["epochs"], values["b1"]) == (0.5, 9, 0.9)
    assert values.keys() == setting_types().keys()
    assert with_settings(CONFIG, values) == changed


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "4", 4),
        ("epochs", np.int64(4), 4),
        ("epochs", 4.0, 4),
        ("learning_rate", "1e-3", 1e-3),
        ("learning_rate", 1, 1.0),
        ("max_length", None, None),
        ("max_length", "64", 64),
        ("dropout", np.float64(0.5), 0.5),
        ("clean", "true", True),
        ("clean", False, False),
        ("decay", "cosine", "cosine"),
        ("text", ["title", "body"], ("title", "body")),
        ("text", "title", ("title",)),
        ("out", "runs/x", Path("runs/x")),
    ],
)
def test_a_value_takes_the_type_of_its_setting(name, value, expected):
    found = convert(name, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "four", "epochs is 'four', but must be a whole number"),
        ("epochs", 2.5, "epochs is 2.5, but must be a whole number"),
        ("epochs", True, "epochs is True, but must be a whole number"),
        ("epochs", None, "epochs is None, but must be a whole number"),
        ("epochs", float("nan"), "epochs is nan, but must be a whole number"),
        ("epochs", float("inf"), "epochs is inf, but must be a whole number"),
        ("learning_rate", "fast", "learning_rate is 'fast', but must be a number"),
        ("learning_rate", [1e-3], "but must be a number"),
        ("max_length", "long", "max_length is 'long', but must be a whole number or null"),
        ("clean", "yes", "clean is 'yes', but must be true or false"),
        ("clean", 1, "clean is 1, but must be true or false"),
        ("decay", "linea", "decay is 'linea', but must be linear or cosine"),
        ("decay", ["linear"], "but must be linear or cosine"),
        ("text", [1], "but must be a list of texts"),
        ("data", 3, "data is 3, but must be a text"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, expected):
    with pytest.raises(UserError, match=expected.replace("[", r"\[")):
        convert(name, value)
