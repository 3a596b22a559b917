"""The settings of a server and of its replicas."""

import pytest

from bertjax.errors import UserError
from bertjax.workflows.serve_configs import ReplicasConfig, ServeConfig


@pytest.mark.parametrize(("given", "expected"), [("1", (1, 1)), ("3", (3, 3)), ("1:4", (1, 4))])
def test_replicas_are_one_number_or_two(given, expected):
    assert ReplicasConfig(ray=True, replicas=given).replica_range() == expected


@pytest.mark.parametrize("replicas", ["0", "a", "3:2", "1:2:3", "-1", ""])
def test_a_number_of_replicas_that_is_none_is_told(replicas):
    with pytest.raises(UserError, match="expected a number, or two as in 1:4"):
        ReplicasConfig(ray=True, replicas=replicas).check()


def test_settings_of_replicas_need_ray():
    with pytest.raises(UserError, match="need --ray"):
        ReplicasConfig(replicas="2").check()


@pytest.mark.parametrize("given", [{"replica_cores": 0}, {"replica_gpus": -1}])
def test_a_replica_needs_a_core_and_no_negative_gpus(given):
    with pytest.raises(UserError, match="--replica-cores must be at least 1, and --replica-gpus"):
        ReplicasConfig(ray=True, **given).check()


def test_replicas_cannot_choose_a_port():
    config = ServeConfig(run="runs/tags", port=0, cluster=ReplicasConfig(ray=True))
    with pytest.raises(UserError, match="--port 0 is for a server without --ray"):
        config.check()
    ServeConfig(run="runs/tags", port=0).check()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_needs_a_canary(share):
    with pytest.raises(UserError, match="--canary-share needs --canary"):
        ServeConfig(run="runs/tags", canary_share=share).check()
    config = ServeConfig(run="runs/tags", canary="runs/new", canary_share=share)
    config.check()
    assert config.share == share


def test_a_canary_gets_a_tenth_unless_told():
    assert ServeConfig(run="runs/tags", canary="runs/new").share == 0.1
