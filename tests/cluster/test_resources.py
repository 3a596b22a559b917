"""What is refused before Ray would wait for it."""

import re

import pytest

from bertjax.cluster import resources as module
from bertjax.cluster.resources import check_actors, check_resources, environment_of, scaling
from bertjax.errors import UserError
from bertjax.process import tunables
from bertjax.workflows.configs import ClusterConfig, WorkersConfig

TWO_OF_EIGHT = [{"CPU": 16.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}]


@pytest.fixture
def nodes(monkeypatch):
    def have(resources: list[dict[str, float]]) -> None:
        found = [{"Alive": True, "Resources": node} for node in resources]
        dead = {"Alive": False, "Resources": {"CPU": 999.0, "GPU": 999.0, "TPU": 999.0}}
        monkeypatch.setattr(module.ray, "nodes", lambda: [*found, dead])

    return have


@pytest.mark.parametrize(
    ("check", "config"),
    [
        (check_resources, ClusterConfig(workers=144)),
        (check_resources, ClusterConfig(workers=2, worker_gpus=8)),
        (check_resources, ClusterConfig(workers=1, worker_gpus=3)),
        (check_actors, WorkersConfig(workers=16, worker_gpus=1)),
    ],
)
def test_what_fits_is_let_through(check, config, nodes):
    nodes(TWO_OF_EIGHT)
    check(config)


@pytest.mark.parametrize(
    ("check", "config", "message"),
    [
        (check_resources, ClusterConfig(workers=145), "and the cluster has 144: use fewer"),
        (
            check_resources,
            ClusterConfig(workers=3, worker_gpus=1),
            "--workers 3 with 1 GPUs each need as many machines, one worker on each; the GPUs of "
            "the cluster's machines are: 0, 8, 8.",
        ),
        (check_resources, ClusterConfig(workers=1, worker_gpus=9), "machines are: 0, 8, 8."),
        (
            check_resources,
            ClusterConfig(workers=4, topology="4x4", accelerator="TPU-V6E"),
            "--topology needs TPUs, and the cluster has none",
        ),
        (check_actors, WorkersConfig(workers=17, worker_gpus=1), "machines have: 0, 8, 8."),
    ],
)
def test_what_does_not_fit_is_told_with_what_is_there(check, config, message, nodes):
    nodes(TWO_OF_EIGHT)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        check(config)
    assert "\n" not in str(error.value)


def test_workers_are_spread_over_machines():
    spread = scaling(ClusterConfig(workers=2, worker_gpus=8))
    assert spread.placement_strategy == "STRICT_SPREAD"
    assert spread.use_gpu
    assert spread.resources_per_worker == {"CPU": 1, "GPU": 8}
    alone = scaling(ClusterConfig(workers=2))
    assert alone.placement_strategy == "SPREAD"  # several on one where there is no other way
    assert alone.resources_per_worker == {"CPU": 1}


def test_only_a_worker_without_an_accelerator_is_kept_to_cpus(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert environment_of(ClusterConfig(workers=2)) == {
        "GLIBC_TUNABLES": tunables(),
        "JAX_PLATFORMS": "cpu",
    }
    for config in (
        ClusterConfig(workers=2, worker_gpus=1),
        ClusterConfig(workers=2, topology="4x4", accelerator="TPU-V6E"),
        WorkersConfig(workers=2, worker_gpus=1),
    ):
        assert "JAX_PLATFORMS" not in environment_of(config)
