"""Where a run was made."""

import subprocess

from bertjax.tracking.environment import packages, source_tags


def test_the_commit_is_that_of_the_folder_and_only_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "mlflow.source.git.commit" not in source_tags()
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / "a").write_text("a")
    subprocess.run(["git", "add", "a"], check=True)
    subprocess.run(["git", *identity, "commit", "-qm", "a"], check=True)
    tags = source_tags()
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["git.uncommitted_changes"] == "no"
    assert tags["folder"] == str(tmp_path)
    (tmp_path / "a").write_text("b")
    assert source_tags()["git.uncommitted_changes"] == "yes"


def test_every_package_has_its_version():
    lines = packages().splitlines()
    assert lines[0].startswith("python==3.")
    assert any(line.startswith("numpy==") for line in lines)
