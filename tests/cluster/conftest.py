"""Real processes of Ray, which all tests of a session share."""

import os
import warnings
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray, started as the command starts it: its processes have one CPU device each."""
    from bertjax.cluster.session import ray_session

    with mock.patch.dict(os.environ, {"JAX_PLATFORMS": "cpu"}), warnings.catch_warnings():
        # Ray forks where an earlier test has run jax; the child becomes a program of its own.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        os.environ.pop("XLA_FLAGS", None)
        session = ray_session()
        session.__enter__()
    yield
    session.__exit__(None, None, None)
