"""What a server sets up for its process; its port and its end are tested with the command."""

import gc
import io
import json
import logging
import logging.handlers
import sys

import pytest

from bertjax.serving.server import freeze_garbage, log_as_json


@pytest.fixture
def logger():
    found = logging.getLogger("bertjax-tests")
    yield found
    found.handlers = []


def test_a_log_is_lines_of_json(logger, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    log_as_json(logger.name, logging.INFO)
    log_as_json(logger.name, logging.INFO)  # once more, and still a line a record
    logger.info("answered", extra={"request_id": "abc"})
    logger.debug("not this")
    [line] = written.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("time")
    assert found == {
        "level": "INFO",
        "logger": "bertjax-tests",
        "message": "answered",
        "request_id": "abc",
    }


def test_the_handlers_of_others_keep_nothing_back(logger):
    """As Ray Serve's do, which hand on what they are told in batches."""
    target = logging.handlers.BufferingHandler(100)
    memory = logging.handlers.MemoryHandler(1, target=target)
    other = logging.getLogger("bertjax-tests-other")
    other.addHandler(memory)
    try:
        log_as_json(logger.name, logging.INFO)
        for _ in range(3):
            other.warning("a request")
        assert len(target.buffer) == 3
        assert memory.buffer == []
    finally:
        other.removeHandler(memory)


def test_what_is_there_is_no_garbage():
    kept = [[] for _ in range(1000)]
    try:
        freeze_garbage()
        assert gc.get_freeze_count() > len(kept)
        assert not any(found is kept for found in gc.get_objects())
    finally:
        gc.unfreeze()
