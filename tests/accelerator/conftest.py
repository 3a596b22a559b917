"""Where no accelerator is found these tests fail, and are not skipped: they are asked for alone."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="session")
def accelerator() -> None:
    assert jax.default_backend() in ("gpu", "tpu"), f"found only {jax.devices()}"
