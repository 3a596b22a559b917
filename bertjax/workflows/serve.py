"""The workflow of `bertjax serve`: a run folder to an HTTP server."""

import os
from collections.abc import Callable

from bertjax.errors import UserError
from bertjax.serving.predictor import Predictor
from bertjax.workflows.serve_configs import ServeConfig

TOKEN = "BERTJAX_TOKEN"  # a flag would show it to everybody on the machine


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `say` is told where, and when it is ready.

    Raises:
        UserError: a setting is out of its range, the run cannot be read, or the port is taken.
    """
    config.check()
    token = os.environ.get(TOKEN)
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise UserError(f"{TOKEN} must hold printable ASCII characters, or not be set")
    from bertjax.serving.server import serve as serve_predictor

    predictor = Predictor.load(config.run, config.precision, config.threshold, config.long_texts)
    serve_predictor(
        predictor,
        config.limits,
        host=config.host,
        port=config.port,
        token=token,
        precision=config.precision,
        say=say,
    )
