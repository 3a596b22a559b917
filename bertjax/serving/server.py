"""A server of one process: opens a port, compiles, answers, and ends with all answers sent."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from pythonjsonlogger.json import JsonFormatter

from bertjax.errors import UserError
from bertjax.serving.served import Served

Say = Callable[[str], None]

_BACKLOG = 2048  # connections that may wait to be accepted
_GRACE = 5  # seconds beyond those that a request gets


def log_as_json(name: str, level: int) -> None:
    """Have a logger write lines of JSON to standard output, and leave all others as they are.

    `logging.config` would close the handlers of others: Ray Serve's then keep all that they are
    told, for ever.
    """
    handler = logging.StreamHandler(sys.stdout)
    fields = {"levelname": "level", "name": "logger"}
    handler.setFormatter(
        JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=fields, timestamp="time")
    )
    logger = logging.getLogger(name)
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def freeze_garbage() -> None:
    """Have Python's collector of garbage never look again at what is there now.

    That is the libraries and the model. To look through it again and again took a sixth of the time
    of the thread that answers, and all requests waited meanwhile.
    """
    gc.collect()
    gc.freeze()


def serve(served: Served, host: str, port: int, say: Say) -> None:
    """Answer until SIGINT or SIGTERM; then nothing new is taken, and what waits is answered.

    Args:
        port: 0 takes one that is free.
        say: is told where the server is, and when it is ready.

    Raises:
        UserError: the port is taken, or is not to be had.
    """
    listener = listen(host, port)
    log_as_json("bertjax.serving", logging.INFO)
    log_as_json("uvicorn", logging.WARNING)
    config = uvicorn.Config(
        served.app,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=round(served.limits.timeout) + _GRACE,
    )
    server = uvicorn.Server(config)
    say(f"serving {served} at {_url(listener)}: a page for people there, /docs for programs")
    failures: list[BaseException] = []
    warming = threading.Thread(target=_warm_up, args=(served, server, say, failures), daemon=True)

    def end(*_: Any) -> None:
        server.should_exit = True

    # Before and after uvicorn's own handler: it raises what ended it once more.
    before = signal.signal(signal.SIGTERM, end)
    warming.start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()
        served.stop()
    warming.join()
    if failures:
        raise failures[0]
    say("stopped")


def listen(host: str, port: int) -> socket.socket:
    """An open port; 0 takes one that is free.

    Raises:
        UserError: it is taken, or is not to be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", str(error))
        raise UserError(
            f"cannot listen at {host}:{port} ({reason}): choose another --port, or --host"
        ) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _warm_up(
    served: Served, server: uvicorn.Server, say: Say, failures: list[BaseException]
) -> None:
    began = time.perf_counter()

    def ready() -> None:
        freeze_garbage()
        say(f"ready after {time.perf_counter() - began:.1f} s")

    try:
        served.warm_up(ready)
        freeze_garbage()  # what was compiled since
    except BaseException as error:  # the thread that serves has to know, and to raise it
        failures.append(error)
        server.should_exit = True
