"""The examples of clusters: what can be checked of them without machines."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from bertjax.cli import parse
from bertjax.workflows.configs import FinetuneConfig

FOLDER = Path(__file__).parents[2] / "experiments" / "cluster"
NAMES = ("gpu", "tpu", "kuberay")


@pytest.fixture(params=NAMES)
def example(request) -> str:
    return (FOLDER / f"{request.param}.yaml").read_text(encoding="utf-8")


def test_each_example_is_here():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)


def test_the_command_of_an_example_is_one_that_bertjax_takes(example):
    text = re.sub(r"\\?\n#? +", " ", example)
    found = re.search(r"bertjax finetune ([^\"\n]*?)(?:\"| shutdownAfterJobFinishes)", text)
    assert found, text
    config = parse(["finetune", *shlex.split(found[1])])
    assert isinstance(config, FinetuneConfig)
    config.cluster.check()
    assert config.cluster.workers == 4
    assert config.cluster.storage
    assert config.cluster.worker_gpus or config.cluster.topology


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_rays_launcher_takes_an_example(name):
    config = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    prepared = prepare_config(config)
    validate_config(prepared)  # raises
    assert prepared["available_node_types"].keys() == {"head", name}
    with pytest.raises(ValidationError, match="head_node_typ"):
        validate_config({**prepared, "head_node_typ": "head"})


def test_the_job_for_kubernetes_asks_for_as_many_gpus_as_its_command():
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert f"--workers {group['replicas']} --worker-gpus 8" in job["spec"]["entrypoint"]
