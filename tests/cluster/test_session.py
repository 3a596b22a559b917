"""Reaching a cluster, and what is said when there is none."""

import re
import socket
import subprocess
import sys

import pytest

from bertjax.cluster import session
from bertjax.cluster.session import ray_session
from bertjax.errors import UserError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1 ("),
        ("ray://127.0.0.1:1", "no Ray cluster answers at ray://127.0.0.1:1 ("),
        ("nowhere.invalid", "no Ray cluster answers at nowhere.invalid ("),
        ("10.0.0.1:port", "--ray-address 10.0.0.1:port has no port: give host:port"),
    ],
)
def test_an_address_that_does_not_answer_is_told_at_once(address, message, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(UserError, match=re.escape(message)) as error, ray_session(address):
        pass
    assert "\n" not in str(error.value)


def test_a_port_of_something_else_is_no_cluster(monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(session, "_ANSWER", 15.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
            session.ray_session(address).__enter__()


def test_a_session_that_runs_is_used_and_left(ray_here):
    import ray

    with ray_session("127.0.0.1:1"):
        assert ray.is_initialized()
    assert ray.is_initialized()


def test_importing_starts_nothing():
    program = "import ray, bertjax.cluster.train; sys.exit(ray.is_initialized())"
    done = subprocess.run([sys.executable, "-c", f"import sys; {program}"], timeout=120)
    assert done.returncode == 0


LOSES_A_PROCESS = """
import os, signal, sys, time
from bertjax.process import prepare_process

if len(sys.argv) > 1:
    prepare_process()
import ray
from bertjax.cluster.session import ray_session

@ray.remote(max_retries=0)
def die():
    os.kill(os.getpid(), signal.SIGKILL)

with ray_session():
    try:
        ray.get(die.remote())
    except ray.exceptions.WorkerCrashedError:
        time.sleep(3)  # Ray tells of it later
        print("the end")
"""


def test_ray_tells_nothing_of_a_lost_process_among_the_results():
    told = [
        subprocess.run(
            [sys.executable, "-c", LOSES_A_PROCESS, *mode],
            timeout=120,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for mode in ((), ("as the command does",))
    ]
    assert b"worker died" in told[0]
    assert told[1] == b"the end\n"
