"""Errors in few words."""

from bertjax.tracking.failures import is_lasting, reason_of


def test_the_reason_is_one_line():
    chain = ConnectionError("HTTPConnectionPool(host='x'): Max retries (... Connection refused)")
    assert reason_of(chain) == "connection refused"
    assert reason_of(OSError("first\nsecond")) == "first"
    assert reason_of(RuntimeError()) == "RuntimeError"
    assert len(reason_of(ValueError("x" * 1000))) == 200
    wrapped = "(sqlite3.OperationalError) database is locked\n[SQL: BEGIN]"
    assert reason_of(ValueError(wrapped)) == "database is locked"


def test_what_is_wrong_for_good_is_not_tried_again():
    refused = Exception()
    refused.error_code = "INVALID_PARAMETER_VALUE"
    assert is_lasting(refused)
    assert is_lasting(PermissionError())
    assert not is_lasting(ConnectionError())
