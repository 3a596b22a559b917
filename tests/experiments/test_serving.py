"""The container and the unit: what can be checked of them without an engine, or systemd."""

import configparser
import json
import re
import shlex
from pathlib import Path

import yaml

from bertjax.cli import main, parse
from bertjax.workflows.serve_configs import ServeConfig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "serving"


def instructions() -> list[str]:
    """The instructions of the Dockerfile, a line each."""
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]


def entrypoint() -> list[str]:
    (line,) = [line for line in instructions() if line.startswith("ENTRYPOINT ")]
    return json.loads(line.removeprefix("ENTRYPOINT "))


def served(arguments: list[str]) -> ServeConfig:
    assert arguments[0] == "bertjax"
    config = parse(arguments[1:])
    assert isinstance(config, ServeConfig)
    config.check()
    return config


def test_the_container_runs_the_command_on_the_port_that_it_tells():
    config = served(entrypoint())
    assert (config.run, config.host) == ("/model", "0.0.0.0")
    lines = instructions()
    assert f"EXPOSE {config.port}" in lines
    assert any(line.startswith("USER bertjax") for line in lines[-7:])  # not as root
    assert f"http://127.0.0.1:{config.port}/ready" in " ".join(lines)
    kinds = {line.split()[0] for line in lines}
    known = "FROM WORKDIR COPY RUN ENV USER EXPOSE CMD HEALTHCHECK STOPSIGNAL ENTRYPOINT"
    assert kinds <= set(known.split())


def test_the_container_is_made_of_what_the_wheel_needs_alone():
    assert "COPY . ." in instructions()
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg", encoding="utf-8")
    described = metadata["metadata"]["long_description"].removeprefix("file:").strip()
    licence = metadata["metadata"]["license_files"].strip()
    assert kept == {"bertjax", "pyproject.toml", "setup.cfg", described, licence}
    assert "**/__pycache__" in rules[1:]


def test_compose_builds_stages_that_there_are_and_passes_flags_that_there_are():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    stages = {line.split()[-1] for line in instructions() if line.startswith("FROM ")}
    for service in compose["services"].values():
        build = service["build"]
        assert (FOLDER / build["context"]).resolve() == ROOT
        assert ROOT / build["dockerfile"] == FOLDER / "Dockerfile"
        assert build["target"] in stages
        named = [volume.split(":")[0] for volume in service["volumes"]]
        assert {name for name in named if "/" not in name} <= set(compose["volumes"])
    server = compose["services"]["server"]
    config = served([*entrypoint(), *server["command"]])
    assert f"{config.port}:{config.port}" in server["ports"]
    grace = int(server["stop_grace_period"].removesuffix("s"))
    assert grace > 2 * config.limits.timeout


def test_the_unit_starts_the_command_and_lets_it_end(tmp_path):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign]
    unit.read(FOLDER / "bertjax.service", encoding="utf-8")
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/bin/bertjax")
    config = served(["bertjax", *arguments])
    assert config.host == "127.0.0.1"
    assert int(unit["Service"]["TimeoutStopSec"]) > 2 * config.limits.timeout
    assert unit["Service"]["Restart"] == "on-failure"
    mistaken = main(["serve", str(tmp_path / "none")])  # to start it once more would not help
    assert unit["Service"]["RestartPreventExitStatus"] == str(mistaken)
    assert unit["Install"]["WantedBy"] == "multi-user.target"
