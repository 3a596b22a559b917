"""A Ray cluster for the time of a workflow: one that runs already, or one started here."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bertjax
from bertjax.errors import UserError

_CLIENT = "ray://"
_PATIENCE = 5.0  # seconds that the address of a cluster gets to answer
_ANSWER = 60.0  # seconds that `ray status` gets
_PORT = 6379  # of Ray's head, where an address names none

OOM_RETRIES = "5"  # of a task that the system has no memory for; Ray would try for ever

ENVIRONMENT = {
    # Each process of Ray does the work of one core, so a tokenizer starts no threads of its own.
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
    # Ray Train sees an end at its second look after the last report, and a worker cannot report
    # again before a look. Ray's own 2 s are long beside a short training.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    # Of Ray Serve's proxy: on few cores that are busy, Ray's own 5 are too few.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "bertjax.cluster.proxy.middlewares",
}


@contextmanager
def ray_session(
    address: str | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Ray, connected to a running cluster, or started with this machine's cores and ended after.

    Where Ray runs in this process already, that is used and left as it is.

    Args:
        address: host:port of a cluster's head, or ray://host:port; None: start one here.
        variables: that every process of Ray begins with, besides those of `ENVIRONMENT`.

    Raises:
        UserError: no cluster answers at the address, or it asks for a token that is not known here.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    _be_quiet()
    environment = {**ENVIRONMENT, **(variables or {})}
    if address is None:
        _start(environment)
    else:
        _connect(address, environment)
    try:
        yield
    finally:
        ray.shutdown()


def is_of_this_process() -> bool:
    """Whether this process has started the Ray that it uses, which then ends with it."""
    from ray._private import worker

    node = worker._global_node
    return node is not None and node.head


def _start(environment: dict[str, str]) -> None:
    import ray

    os.environ.setdefault("RAY_task_oom_retries", OOM_RETRIES)
    ray.init(
        address="local",  # else Ray takes whatever `ray start` has left on this machine
        num_cpus=_cores(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": environment},
    )


def _connect(address: str, environment: dict[str, str]) -> None:
    import ray

    _check_answers(address)
    if not address.startswith(_CLIENT):
        _check_is_ray(address)
    library = str(Path(bertjax.__file__).parent)  # the cluster's machines may have another
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": environment, "py_modules": [library]},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(_unreachable(address, error)) from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_answers(address: str) -> None:
    """Ask before Ray does, which waits for minutes."""
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if not host:
        host, port = port, str(_PORT)
    if not port.isdecimal():
        raise UserError(f"--ray-address {address} has no port: give host:port, as in 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UserError(_unreachable(address, error)) from error


def _check_is_ray(address: str) -> None:
    """In a process of its own, since Ray's client can neither be hurried nor stopped."""
    program = [sys.executable, "-m", "ray.scripts.scripts", "status", f"--address={address}"]
    try:
        done = subprocess.run(program, timeout=_ANSWER, capture_output=True, text=True)
    except subprocess.TimeoutExpired as error:
        nothing = TimeoutError("what listens there is not Ray")
        raise UserError(_unreachable(address, nothing)) from error
    if done.returncode:
        if "InvalidAuthToken" in done.stderr:
            raise UserError(
                f"the Ray cluster at {address} asks for its token: set RAY_AUTH_MODE=token, and "
                "give the token in RAY_AUTH_TOKEN or in ~/.ray/auth_token"
            )
        lines = done.stderr.strip().splitlines() or ["`ray status` failed"]
        raise UserError(_unreachable(address, RuntimeError(lines[-1])))


def _unreachable(address: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"no Ray cluster answers at {address} ({reason}): check the address, and that `ray start "
        "--head` runs there"
    )


def _be_quiet() -> None:
    """Ray's own lines on what it does would hide ours."""
    for name, value in {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
        "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it raises is told by us
    for name in ("ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
