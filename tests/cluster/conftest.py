"""A Ray of this machine that the tests of this folder share."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray, as a workflow starts it; its processes have one device each."""
    from bertjax.cluster.session import ray_session

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XLA_FLAGS", raising=False)
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, __import__("sys").path)))
        with ray_session():
            yield
