"""Two processes that train one model compute what one process computes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("joined_run.py")
STEPS = 20


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(folder: Path, count: int) -> list[dict[str, np.ndarray]]:
    """What each of so many processes found."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    port = free_port()
    outs = [folder / f"{rank}.npz" for rank in range(count)]
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM, *map(str, (rank, count, port, out))],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, problems = process.communicate(timeout=300)
        assert process.returncode == 0, problems
    return [dict(np.load(out)) for out in outs]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone"), 1)[0]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return run(tmp_path_factory.mktemp("together"), 2)


@pytest.mark.parametrize("mesh", ["data", "fsdp"])
def test_the_gradient_of_a_step_with_dropout_is_that_of_one_process(mesh, alone, together):
    names = [name for name in alone if name.startswith(f"{mesh} gradient")]
    assert len(names) > 20
    for name in names:
        for found in together:
            np.testing.assert_allclose(found[name], alone[name], rtol=0, atol=1e-6, err_msg=name)
    assert max(abs(alone[name]).max() for name in names) > 1e-2


def test_the_same_entries_are_dropped(alone, together):
    assert 0.85 < alone["mask"].mean() < 0.95
    for found in together:
        np.testing.assert_array_equal(found["mask"], alone["mask"])


def test_the_losses_of_a_training_with_dropout_are_those_of_one_process(alone, together):
    assert len(alone["losses"]) == STEPS
    assert abs(alone["losses"][0] - alone["losses"][-1]) > 0.01
    for found in together:
        np.testing.assert_allclose(found["losses"], alone["losses"], rtol=0, atol=1e-3)


def test_all_processes_end_with_the_same_bits(together):
    first, second = together
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values, err_msg=name)
