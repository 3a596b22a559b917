"""Which MLflow store is meant, and whether it answers."""

import os
import re
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bertjax.errors import UserError
from bertjax.tracking.failures import reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_STORE = "sqlite:///mlflow.db"
ARTIFACTS = "mlartifacts"  # folder beside a store that is a file

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVERS = ("http", "https", "databricks")
_PATIENCE = 5.0  # seconds that a server gets to answer at all
_LOCK_PATIENCE = 3.0  # seconds; MLflow's own is half a minute, tried again and again


def is_installed() -> bool:
    """Whether MLflow is; it is not imported."""
    return find_spec("mlflow") is not None


def store_uri(given: str | None) -> str:
    """The store that was given; else that of MLFLOW_TRACKING_URI, else a file in this folder.

    Raises:
        UserError: it is of no kind that MLflow writes to.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
    kinds = "|".join((*_DATABASES, *_SERVERS))
    if uri != "databricks" and not re.match(rf"({kinds})(\+\w+)?://", uri):
        raise UserError(
            f"the tracking store is {shown(uri)!r}, expected a server as in http://host:5000 or a "
            "database as in sqlite:///mlflow.db (--tracking-uri, MLFLOW_TRACKING_URI)"
        )
    return uri


def shown(uri: str) -> str:
    """A URI without its password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def check_store(uri: str) -> None:
    """Look whether the store answers and can be written to; MLflow itself tries for minutes.

    Raises:
        UserError: not so.
    """
    if uri.startswith("http"):
        _check_server(uri)
    elif not uri.startswith("databricks"):
        _check_database(uri)


def client_of(uri: str, make: bool = False) -> "MlflowClient":
    """A client of a store that answers; imports MLflow, which takes seconds.

    Args:
        make: whether to make a store that is a file and not there.

    Raises:
        UserError: there is no such file; or see `check_store`.
    """
    file = _file_of(uri)
    if not make and file is not None and not file.exists():
        raise UserError(
            f"there is no tracking store {shown(uri)}: go to the folder where `bertjax finetune` "
            "was run, or name another store (--tracking-uri)"
        )
    check_store(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # makes the tables of a new database
    except MlflowException as error:
        raise refusal(uri, error) from error
    return client


def experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    """Of the experiment of this name, which is made if there is none.

    Raises:
        UserError: it was deleted, or has no name that MLflow takes.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment_by_name(name)
        if found is None:
            file = _file_of(uri)
            place = None if file is None else (file.parent / ARTIFACTS).as_uri()
            try:
                return client.create_experiment(name, place)  # None: where the server says
            except MlflowException as error:
                found = client.get_experiment_by_name(name)  # another run may have made it just now
                if found is None:
                    raise error from None
    except MlflowException as error:
        raise UserError(f"MLflow refuses the experiment {name!r}: {reason_of(error)}") from error
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {name!r} was deleted from {shown(uri)}: choose another --experiment, "
            "or restore it there"
        )
    return found.experiment_id


def refusal(uri: str, error: Exception) -> UserError:
    """The line for a store that cannot be used."""
    reason = reason_of(error)
    if "locked" in reason:
        remedy = "end the program that holds it"
    elif "readonly" in reason or "unable to open" in reason:
        remedy = "choose a place that can be written to"
    elif uri.startswith("http"):
        remedy = "start the server, or correct the address"
    else:
        remedy = "choose another store"
    return UserError(
        f"the tracking store {shown(uri)} cannot be used ({reason}): {remedy} (--tracking-uri), or "
        "do without (--no-track)"
    )


def _file_of(uri: str) -> Path | None:
    """The file that is the store, if it is one."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database or "").absolute()


def _check_server(uri: str) -> None:
    import requests

    try:
        requests.get(uri, timeout=_PATIENCE, stream=True).close()  # any answer will do
    except (requests.RequestException, ValueError) as error:
        raise refusal(uri, error) from error


def _check_database(uri: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    sqlite = uri.startswith("sqlite")
    try:
        arguments = {"timeout": 0.2} if sqlite else {}
        engine = create_engine(uri, poolclass=NullPool, connect_args=arguments)
        end = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                with engine.connect() as connection:
                    if sqlite:
                        connection.exec_driver_sql("BEGIN IMMEDIATE")
                        # Of a file that may only be read SQLite tells when it is written to.
                        connection.exec_driver_sql("PRAGMA user_version = 0")
                        connection.exec_driver_sql("ROLLBACK")
                return
            except SQLAlchemyError as error:  # another run may be writing just now
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise refusal(uri, error) from error
