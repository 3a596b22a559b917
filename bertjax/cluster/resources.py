"""What workers need of a cluster, and whether it has that."""

import os

import ray
from ray.train import ScalingConfig

from bertjax.errors import UserError
from bertjax.process import tunables
from bertjax.workflows.configs import ClusterConfig


def check_resources(config: ClusterConfig) -> None:
    """Refuse what the cluster does not have; Ray would wait for it.

    Raises:
        UserError: there are too few cores, machines with GPUs, or TPUs.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if config.topology:
        if not any("TPU" in node for node in nodes):
            raise UserError("--topology needs TPUs, and the cluster has none")
        return
    if config.worker_gpus:
        _check_gpus(config, nodes)
        return
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
    return ScalingConfig(num_workers=config.workers, resources_per_worker={"CPU": 1})


def environment_of(config: ClusterConfig) -> dict[str, str]:
    """The variables that a worker's process begins with."""
    values = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", tunables())}
    if not (config.worker_gpus or config.topology):
        values["JAX_PLATFORMS"] = "cpu"
    return values
