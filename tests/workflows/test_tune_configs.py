"""Settings of a search and their ranges."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.workflows.tune_configs import TuneConfig

CONFIG = TuneConfig(data="sample", out=Path("runs/search"))


@pytest.mark.parametrize("gpus", [0.0, 0.25, 1.0, 2.0])
def test_what_is_in_range_is_taken(gpus):
    replace(CONFIG, trial_gpus=gpus).check()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"trials": 0}, "--trials is 0, but must be at least 1"),
        ({"concurrent": -1}, "--concurrent is -1, but must be at least 0"),
        ({"grace": 0}, "--grace is 0, but must be at least 1"),
        ({"trial_cores": 0}, "--trial-cores is 0, but must be at least 1"),
        ({"trial_gpus": 1.5}, "--trial-gpus is 1.5, but must be a share of one or a whole"),
        ({"trial_gpus": -1.0}, "--trial-gpus is -1.0"),
        ({"trial_gpus": float("nan")}, "--trial-gpus is nan"),
        ({"validation_size": 0.0}, "--validation-size is 0.0, but must be between 0 and 1"),
    ],
)
def test_a_setting_out_of_its_range_is_named(change, expected):
    with pytest.raises(UserError, match=expected):
        replace(CONFIG, **change).check()
