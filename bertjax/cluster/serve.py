"""`bertjax serve --ray`: replicas of the server, which Ray Serve starts, watches and replaces.

A replica takes requests once all its programs are compiled. Where the application runs already, its
replicas are replaced one after the other by those of the new run, and no request fails meanwhile.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.config import AutoscalingConfig, HTTPOptions
from ray.serve.context import _get_global_client

from bertjax.checkpoints.resolve import resolve
from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.session import ray_session
from bertjax.errors import UserError
from bertjax.process import prepare_process, tunables
from bertjax.workflows.named_run import with_folders
from bertjax.workflows.serve import build, read_token
from bertjax.workflows.serve_configs import ServeConfig

APP = "bertjax"  # of Ray Serve; another one beside it would need another port

_GRACE = 5.0  # seconds beyond those that a request gets
_POLL = 1.0  # seconds between looks at whether it has ended
_ONGOING = 16  # requests of a replica, on average, beyond which another one is started


@ray_serve.ingress()
class Replica:
    """A server, without its port."""

    def __init__(self, config: ServeConfig, token: str | None):
        prepare_process()
        from bertjax.serving.server import freeze_garbage, log_as_json

        log_as_json("bertjax.serving", logging.INFO)
        self.served = build(config, token)
        self.served.warm_up(lambda: None)
        freeze_garbage()

    def __serve_build_asgi_app__(self) -> Any:
        return self.served.app

    def check_health(self) -> None:
        """Raise where nothing is computed any more; Ray then replaces this replica."""
        if not all(service.works for service in self.served.services):
            raise RuntimeError("a thread that computes has ended")


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """As `workflows.serve.serve`, on Ray: on a cluster that runs, until `ray_serve.shutdown`.

    Raises:
        UserError: as there; the cluster cannot be reached or has too little; a replica fails.
    """
    config.check()
    token = read_token()
    config = with_folders(config)
    config = replace(
        config,
        run=str(resolve(config.run).absolute()),  # replicas may stand elsewhere
        canary=config.canary and str(resolve(config.canary).absolute()),
    )
    stays = config.cluster.ray_address is not None
    if not stays:
        from bertjax.serving.server import listen

        listen(config.host, config.port).close()  # Ray needs most of a minute to find it taken
    with ray_session(config.cluster.ray_address):
        _check_room(config)
        with told_in_one_line(f"reading {config.run}"):
            served = ray.get(_look_at.remote(config))
        deploy(config, token)
        say(f"serving {served} at http://{config.host}:{config.port} from {_replicas(config)}")
        if stays:
            say("it stays there; the same command with another run replaces it")
            return
        try:
            _wait_for_signal()
        finally:
            undeploy(config)
    say("stopped")


# On CPU, in a process of its own: a GPU is for the replicas.
@ray.remote(num_cpus=0, max_calls=1, runtime_env={"env_vars": {"JAX_PLATFORMS": "cpu"}})
def _look_at(config: ServeConfig) -> str:
    """What a config serves, in words; raises what is wrong with it, before a replica is started."""
    served = build(config, None)
    for service in served.services:
        service.close()
    return str(served)


def deploy(config: ServeConfig, token: str | None) -> None:
    """Start the application, or replace what it serves; returns when that answers.

    Raises:
        UserError: a replica does not come up, or the port is taken.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        ray_serve.start(
            http_options=HTTPOptions(
                host=config.host, port=config.port, request_timeout_s=_patience(config)
            )
        )
        _check_where_it_runs(config)
        application = ray_serve.deployment(Replica).options(**_options(config))
        ray_serve.run(application.bind(config, token), name=APP, route_prefix="/")
    except (RuntimeError, RayError) as error:
        raise UserError(_why_not(config, str(error))) from error


def undeploy(config: ServeConfig) -> None:
    """End the application, when it has answered what it has in hand, and then Ray Serve."""
    ends = time.monotonic() + _patience(config) + _GRACE  # Ray kills the replicas before
    try:
        # Alone, `shutdown` ends the proxies while replicas still answer; and `delete` waits for a
        # minute, not for as long as a request may take.
        ray_serve.delete(APP, _blocking=False)
        while APP in ray_serve.status().applications and time.monotonic() < ends:
            time.sleep(_POLL)
    finally:
        ray_serve.shutdown()


def _why_not(config: ServeConfig, told: str) -> str:
    """One line of what Ray tells in many, of replicas that did not start."""
    if "Failed to bind" in told:
        return f"cannot listen at {config.host}:{config.port}: choose another --port, or --host"
    lines = [line for line in told.splitlines() if line.strip()]
    return f"the replicas did not start: {lines[-1].strip()}"


def _options(config: ServeConfig) -> dict[str, Any]:
    cluster = config.cluster
    least, most = cluster.replica_range()
    variables = {"GLIBC_TUNABLES": tunables()}
    if not cluster.replica_gpus:
        variables |= {"JAX_PLATFORMS": "cpu", "NPROC": str(cluster.replica_cores)}
    elif cluster.replica_gpus < 1:  # JAX takes three quarters of a GPU's memory otherwise
        variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * cluster.replica_gpus:.3f}"
    scaling: dict[str, Any] = {"num_replicas": least}
    if least < most:
        scaling = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=least, max_replicas=most, target_ongoing_requests=_ONGOING
            )
        }
    return {
        "name": "Replica",
        **scaling,
        # All requests go to the batcher, which has its own bound.
        "max_ongoing_requests": config.limits.max_queue,
        "ray_actor_options": {
            "num_cpus": cluster.replica_cores,
            "num_gpus": cluster.replica_gpus,
            "runtime_env": {"env_vars": variables},
        },
        "graceful_shutdown_timeout_s": _patience(config),
        "health_check_period_s": 5.0,
    }


def _patience(config: ServeConfig) -> float:
    return config.limits.timeout + _GRACE


def _check_where_it_runs(config: ServeConfig) -> None:
    """Where Ray Serve runs already, it stays where it is, and waits as long as it does.

    Where that is, only Ray's dashboard tells publicly, which a cluster may be without.
    """
    client = _get_global_client()
    assert client is not None  # it was started just now
    found = client.http_config
    if (found.host, found.port) != (config.host, config.port):
        raise UserError(
            f"Ray Serve runs at {found.host}:{found.port} already: give --host {found.host} --port "
            f"{found.port}, or end it with `serve shutdown`"
        )
    patience = found.request_timeout_s
    if patience != _patience(config):
        same = "" if patience is None else f"give --timeout {patience - _GRACE:g}, or "
        raise UserError(
            f"Ray Serve runs with another --timeout already: {same}end it with `serve shutdown`"
        )


def _check_room(config: ServeConfig) -> None:
    cluster = config.cluster
    least, _ = cluster.replica_range()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = 0
    for node in nodes:
        fit = int(node.get("CPU", 0) // cluster.replica_cores)
        if cluster.replica_gpus:
            fit = min(fit, int(node.get("GPU", 0) / cluster.replica_gpus + 1e-9))
        room += fit
    if least > room:
        each = f"--replica-cores {cluster.replica_cores}"
        if cluster.replica_gpus:
            each += f" and --replica-gpus {cluster.replica_gpus:g}"
        raise UserError(
            f"--replicas {least} with {each} do not fit: the cluster has room for {room}; use "
            "fewer, or add machines"
        )


def _replicas(config: ServeConfig) -> str:
    least, most = config.cluster.replica_range()
    noun = "replica" if most == 1 else "replicas"
    return f"{least} {noun}" if least == most else f"{least} to {most} {noun}"


def _wait_for_signal() -> None:
    """Return on SIGINT or SIGTERM."""
    ended = threading.Event()
    before = {
        kind: signal.signal(kind, lambda *_: ended.set())
        for kind in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        ended.wait()
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
