"""What workers need of a cluster, and whether it has that."""

import os

import ray
from ray.train import ScalingConfig

from bertjax.errors import UserError
from bertjax.process import tunables
from bertjax.workflows.configs import ClusterConfig, WorkersConfig


def check_resources(config: ClusterConfig) -> None:
    """Refuse what the cluster does not have; Ray would wait for it.

    Raises:
        UserError: there are too few cores, machines with GPUs, or TPUs.
    """
    nodes = _nodes()
    if config.topology:
        if not any("TPU" in node for node in nodes):
            raise UserError("--topology needs TPUs, and the cluster has none")
        return
    if config.worker_gpus:
        _check_gpus(config, nodes)
        return
    _check_cores(config, nodes)


def check_actors(config: WorkersConfig) -> None:
    """The same for workers of which each computes alone, several on a machine.

    Raises:
        UserError: there are too few cores or GPUs.
    """
    nodes = _nodes()
    _check_cores(config, nodes)
    if not config.worker_gpus:
        return
    fit = sum(int(node.get("GPU", 0) // config.worker_gpus) for node in nodes)
    if config.workers > fit:
        found = ", ".join(f"{node.get('GPU', 0):.0f}" for node in nodes)
        raise UserError(
            f"--workers {config.workers} with {config.worker_gpus} GPUs each need more than the "
            f"cluster's machines have: {found}. Use fewer workers, or --worker-gpus 0"
        )


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _check_cores(config: WorkersConfig, nodes: list[dict[str, float]]) -> None:
    cores = int(sum(node.get("CPU", 0) for node in nodes))
    if config.workers > cores:
        raise UserError(
            f"--workers {config.workers} needs as many cores, and the cluster has {cores}: use "
            "fewer workers, or add machines"
        )


def _check_gpus(config: ClusterConfig, nodes: list[dict[str, float]]) -> None:
    """Two workers on one machine would both take its first GPUs, so each needs one of its own."""
    fit = sum(node.get("GPU", 0) >= config.worker_gpus for node in nodes)
    if config.workers <= fit:
        return
    found = ", ".join(f"{node.get('GPU', 0):.0f}" for node in nodes)
    raise UserError(
        f"--workers {config.workers} with {config.worker_gpus} GPUs each need as many machines, "
        f"one worker on each; the GPUs of the cluster's machines are: {found}. Use one worker a "
        "machine, and give it all GPUs with --worker-gpus"
    )


def scaling(config: ClusterConfig) -> ScalingConfig:
    """Where Ray Train places the workers."""
    if config.topology:
        return ScalingConfig(
            num_workers=config.workers,
            use_tpu=True,
            topology=config.topology,
            accelerator_type=config.accelerator,
        )
    if config.worker_gpus:
        return ScalingConfig(
            num_workers=config.workers,
            use_gpu=True,
            resources_per_worker={"CPU": 1, "GPU": config.worker_gpus},
            placement_strategy="STRICT_SPREAD",
        )
    return ScalingConfig(  # each computes with all cores of its machine
        num_workers=config.workers,
        resources_per_worker={"CPU": 1},
        placement_strategy="SPREAD",
    )


def environment_of(config: WorkersConfig) -> dict[str, str]:
    """The variables that a worker's process begins with."""
    values = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", tunables())}
    if not (config.worker_gpus or getattr(config, "topology", None)):
        values["JAX_PLATFORMS"] = "cpu"
    return values
