"""Real processes of Ray, which all tests of a session share."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray, started as the command starts it: its processes have one CPU device each."""
    from bertjax.cluster.session import ray_session

    with mock.patch.dict(os.environ, {"JAX_PLATFORMS": "cpu"}):
        os.environ.pop("XLA_FLAGS", None)
        session = ray_session()
        session.__enter__()
    yield
    session.__exit__(None, None, None)
