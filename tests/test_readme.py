"""What the README shows is what happens."""

import re
import shlex
from pathlib import Path

from bertjax.cli import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EVALUATING, EXPLORING, SERVING, TRACKING = (
    (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("evaluating.md", "exploring.md", "serving.md", "tracking.md")
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_the_python_prints_what_is_shown(capsys, packaged_folder):
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    shown = re.search(r"```\n(.*?)```", README.split("```python")[1].split("```", 1)[1], re.DOTALL)
    assert shown is not None
    assert capsys.readouterr().out == shown.group(1)


def test_every_command_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "search").mkdir(parents=True)
    (tmp_path / "runs" / "search" / "best.json").write_text('{"data": "projects.csv"}')
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", "").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    verbs = [command for command in commands if command and command[0] == "bertjax"]
    assert len(verbs) >= 4
    verbs += [shlex.split(found) for found in re.findall(r"bertjax serve [^`\n]+", SERVING)]
    verbs += [shlex.split(found) for found in re.findall(r"bertjax explore [^`\n]+", EXPLORING)]
    for page in (EVALUATING, TRACKING):
        verbs += [shlex.split(found) for found in re.findall(r"^bertjax [^`\n]+", page, re.M)]
    for command in verbs:
        parsed = parse(command[1:])
        assert type(parsed).__name__.lower().startswith(command[1])


def test_every_make_target_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
