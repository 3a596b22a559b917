"""The workflow of `bertjax serve`: a run folder to an HTTP server."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from bertjax.errors import UserError
from bertjax.workflows.named_run import with_folders
from bertjax.workflows.serve_configs import ServeConfig

if TYPE_CHECKING:
    from bertjax.serving.served import Served

TOKEN = "BERTJAX_TOKEN"  # a flag would show it to everybody on the machine


def read_token() -> str | None:
    """The token that requests must bear, if the environment has one.

    Raises:
        UserError: no header could hold it.
    """
    token = os.environ.get(TOKEN)
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise UserError(f"{TOKEN} must hold ASCII characters without spaces, or not be set")
    return token


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `say` is told where, and when it is ready.

    Raises:
        UserError: a setting is out of its range, the run cannot be read, or the port is taken.
    """
    config.check()
    token = read_token()
    from bertjax.serving.server import serve as serve_here

    serve_here(build(config, token), config.host, config.port, say)


def build(config: ServeConfig, token: str | None) -> "Served":
    """Load what a config names.

    Raises:
        UserError: a run cannot be read.
    """
    from bertjax.serving.predictor import Predictor
    from bertjax.serving.served import make_served

    config = with_folders(config)
    predictors = [
        Predictor.load(run, config.precision, config.threshold, config.long_texts)
        for run in (config.run, config.canary)
        if run is not None
    ]
    return make_served(predictors, config.limits, token, config.precision, config.share)
