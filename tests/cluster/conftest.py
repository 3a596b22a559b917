"""A Ray of this machine that the tests of this folder share."""

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bertjax


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Ray, as a workflow starts it; its processes have one device each.

    One a file: what a test that fails leaves behind may keep a core that the next file needs.
    """
    from ray.data import DataContext

    from bertjax.cluster.session import ray_session

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Ray forks to start its own programs, which is no harm to the JAX of earlier tests.
        warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
        # Ray Data warns of settings of its own when it is first used.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.data\.context")
        patch.delenv("XLA_FLAGS", raising=False)
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("PYTHONPATH", str(Path(bertjax.__file__).parents[1]), prepend=":")
        session = ray_session()
        session.__enter__()
        DataContext.get_current()
    yield
    session.__exit__(None, None, None)


@pytest.fixture
def wait_for_free_cores() -> Callable[[], None]:
    """Waits until no task or actor holds a core of `ray_here`."""
    import ray

    def wait() -> None:
        until = time.monotonic() + 60
        while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
            assert time.monotonic() < until, ray.available_resources()
            time.sleep(0.1)

    return wait
