"""Which store is meant, and the line for one that cannot be used."""

import sqlite3
from contextlib import closing

import pytest

from bertjax.errors import UserError
from bertjax.tracking.store import check_store, shown, store_uri


def test_a_flag_goes_before_the_environment_and_that_before_a_file_here(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert store_uri("sqlite:///mine.db") == "sqlite:///mine.db"
    assert store_uri(None) == "http://other:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert store_uri(None) == "sqlite:///mlflow.db"


@pytest.mark.parametrize(
    "uri", ["https://host", "databricks", "databricks://profile", "postgresql+psycopg://u@h/d"]
)
def test_what_mlflow_writes_to_is_taken(uri):
    assert store_uri(uri) == uri


@pytest.mark.parametrize("uri", ["mlruns", "ftp://host/x", "file:///tmp/x", "http:/host", "/x.db"])
def test_another_kind_of_store_is_refused(uri):
    with pytest.raises(UserError, match="expected a server as in http://host:5000 or a database"):
        store_uri(uri)


def test_no_message_shows_a_password():
    assert shown("postgresql://me:secret@host/runs") == "postgresql://host/runs"
    with pytest.raises(UserError) as refused:
        store_uri("ftp://me:secret@host")
    assert "secret" not in str(refused.value)


def damaged(tmp_path) -> str:
    path = tmp_path / "damaged.db"
    path.write_text("this is no database" * 100)
    return f"sqlite:///{path}"


UNFIT = {
    "no folder": (lambda place: f"sqlite:///{place}/no/x.db", "unable to open database file"),
    "read-only": (lambda place: "sqlite:////proc/x.db", "choose a place that can be written to"),
    "damaged": (damaged, "file is not a database"),
    "no server": (lambda place: "http://127.0.0.1:1", "connection refused.*start the server"),
    "no driver": (lambda place: "mysql+nothing://host/x", "cannot be used"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_store_that_cannot_be_used_is_refused_in_a_line(name, tmp_path):
    make, expected = UNFIT[name]
    with pytest.raises(UserError, match=expected) as refused:
        check_store(make(tmp_path))
    assert "\n" not in str(refused.value)
    assert "--no-track" in str(refused.value)


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (x)")
    with pytest.raises(UserError, match=r"readonly database.*a place that can be written to"):
        check_store(f"sqlite:///file:{path}?mode=ro&uri=true")
