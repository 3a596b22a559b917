"""Settings that the command line is made from."""

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from bertjax.training.configs import OptimizerConfig


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        OptimizerConfig().learning_rate = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_importing_settings_imports_no_jax():
    program = "import sys, bertjax.workflows.configs; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
