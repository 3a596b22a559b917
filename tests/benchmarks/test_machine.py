import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import machine
from bertjax.errors import UserError


def test_the_facts_are_json_and_name_what_counts() -> None:
    facts = json.loads(json.dumps(machine.describe_machine()))
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 1e8
    assert facts["date"].endswith("+00:00")
    assert facts["versions"]["jax"] == machine.versions(["jax"])["jax"]


def test_the_processor_is_named_with_its_short_products(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
        "flags\t\t: fpu avx512f avx512_bf16\n"
    )
    assert machine.cpu_model(path) == "AMD EPYC (family 25 model 17, avx512_bf16)"


def test_the_command_says_nothing_of_this_machines_folders(tmp_path: Path) -> None:
    command = machine.command_line(["run.py", str(tmp_path / "table.csv"), "--text", "title"])
    assert command.endswith(" table.csv --text title")
    assert str(tmp_path) not in command


def test_what_is_not_installed_has_no_version() -> None:
    assert set(machine.versions(["numpy", "no-such-package"])) == {"numpy"}


def test_a_checkout_is_told_with_what_is_not_committed(tmp_path: Path) -> None:
    """Results, which every benchmark adds to, are no change of what is measured."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    assert machine.checkout(tmp_path) == {}
    for name in ("bertjax", "benchmarks/results"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a").write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (tmp_path / "benchmarks/results/a").write_text("2")
    found = machine.checkout(tmp_path)
    assert (len(found["commit"]), found["dirty"]) == (40, False)
    (tmp_path / "bertjax/b").write_text("new")
    assert machine.checkout(tmp_path) == {"commit": found["commit"], "dirty": True}


def test_idle_time_is_not_busy(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu  100 10 20 9999 999 1 2 7 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert machine.busy_seconds(path) * os.sysconf("SC_CLK_TCK") == 140
    assert machine.busy_seconds(tmp_path / "absent") == 0


def test_variables_that_may_change_a_figure_are_told_without_folders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_dump_to=/home/somebody/dump")
    monkeypatch.setenv("LD_PRELOAD", "/home/somebody/libjemalloc.so:/lib/other.so")
    monkeypatch.setenv("HOME_OF_NOTHING", "x")
    found = machine.decisive_variables()
    assert found["XLA_FLAGS"] == "--xla_a=1 --xla_dump_to=dump"
    assert found["LD_PRELOAD"] == "libjemalloc.so:other.so"
    assert "HOME_OF_NOTHING" not in found


def test_the_choice_in_brackets_is_read(tmp_path: Path) -> None:
    path = tmp_path / "enabled"
    path.write_text("always [madvise] never\n")
    assert machine._chosen(path) == "madvise"
    assert machine._chosen(tmp_path / "absent") is None


def test_more_cores_than_there_are_is_a_mistake() -> None:
    with pytest.raises(UserError, match="--threads 4096 is more than the"):
        machine.use_cores(4096)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are not kept to here")
def test_cores_are_kept_to() -> None:
    before = os.sched_getaffinity(0)
    try:
        machine.use_cores(1)
        assert machine.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
