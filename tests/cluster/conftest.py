"""A Ray for the tests of a process, and what its workers are given."""

import os
import warnings
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray on this machine; its processes have one CPU device each, as users' have."""
    with mock.patch.dict(os.environ), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, at import and start
        os.environ.pop("XLA_FLAGS")
        from bertjax.cluster.session import ray_session

        with ray_session():
            yield
