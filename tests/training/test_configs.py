"""Settings that the command line is made from."""

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from bertjax.errors import UserError
from bertjax.training.configs import MeshShape, OptimizerConfig


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        OptimizerConfig().learning_rate = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_importing_settings_imports_no_jax():
    program = "import sys, bertjax.workflows.configs; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", (8, 1)),
        ("data=4,fsdp=2", (4, 2)),
        ("fsdp=8, data=1", (1, 8)),
        ("fsdp=4", (2, 4)),
        ("data=2", (2, 4)),
    ],
)
def test_a_mesh_as_text_over_eight_devices(text, lengths):
    assert MeshShape.parse(text).over(8) == lengths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model=2", "--mesh has the axes data and fsdp, not 'model': give"),
        ("8", "not '8': give numbers of devices, as in data=4,fsdp=2"),
        ("data=4,data=2", "gives data twice"),
        ("data=four", "--mesh data is 'four', not a number from 1"),
        ("fsdp=0", "--mesh fsdp is '0', not a number from 1"),
        ("fsdp=-2", "--mesh fsdp is '-2', not a number from 1"),
        ("data=", "--mesh data is '', not a number from 1"),
        ("data=4,fsdp=4", "--mesh needs 16 devices, found 8"),
        ("data=2,fsdp=2", "--mesh needs 4 devices, found 8"),
        ("fsdp=3", "--mesh needs a multiple of 3 devices, found 8"),
        ("data=16", "--mesh needs a multiple of 16 devices, found 8"),
    ],
)
def test_a_mesh_that_cannot_be_is_refused_with_a_line(text, message):
    with pytest.raises(UserError) as refused:
        MeshShape.parse(text).over(8)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
