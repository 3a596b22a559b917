"""Settings and their ranges."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.training.configs import OptimizerConfig
from bertjax.workflows.configs import ClusterConfig, FinetuneConfig

CONFIG = FinetuneConfig(data="sample", out=Path("runs/x"))


def test_the_defaults_are_in_their_ranges():
    CONFIG.check()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"batch_size": 0}, "--batch-size is 0, but must be at least 1"),
        ({"seed": -1}, "--seed is -1, but must be at least 0"),
        ({"validation_size": 1.5}, "--validation-size is 1.5, but must be from 0 to 1"),
        ({"optimizer": OptimizerConfig(clip_norm=-1.0)}, "--clip-norm is -1.0, but must be"),
        ({"dropout": 1.0}, "--dropout is 1.0, but must be at least 0 and less than 1"),
        ({"dropout": float("nan")}, "--dropout is nan"),
        ({"mesh": "model=2"}, "--mesh has the axes data and fsdp, not 'model'"),
        (
            {"soft_labels": True, "cluster": ClusterConfig(workers=2)},
            "--soft-labels are trained on by one process: leave out --workers",
        ),
        ({"mesh": "fsdp=2"}, "--mesh fsdp=2 needs --parallel mesh, not jit"),
    ],
)
def test_a_setting_out_of_its_range_is_named(change, expected):
    with pytest.raises(UserError, match=expected):
        replace(CONFIG, **change).check()
