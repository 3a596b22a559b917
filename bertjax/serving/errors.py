"""What a server refuses, in the one shape that all its errors have."""

from typing import Any

from starlette.exceptions import HTTPException

CLOSE = {"Connection": "close"}  # where more of a body may come, which nobody reads


class ApiError(HTTPException):
    """An answer that is no success; of a kind that FastAPI lets through wherever it is raised.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: one line for people: what was wrong, and what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None):
        super().__init__(status, message, headers)
        self.code = code

    def body(self, request_id: str) -> dict[str, Any]:
        """What is sent, as JSON."""
        return {"error": {"code": self.code, "message": self.detail, "request_id": request_id}}


def overloaded(seconds: int) -> ApiError:
    return ApiError(
        503,
        "overloaded",
        "too many texts are waiting: send the request again later",
        {"Retry-After": str(seconds)},
    )


def too_many_bodies() -> ApiError:
    return ApiError(
        503,
        "overloaded",
        "too many bodies are in hand: send the request again later",
        {"Retry-After": "1", **CLOSE},
    )


def not_ready() -> ApiError:
    return ApiError(
        503,
        "not_ready",
        "the model is still being compiled: send the request again later",
        {"Retry-After": "2"},
    )


def stopping() -> ApiError:
    return ApiError(
        503,
        "stopping",
        "the server is stopping: send the request again, it may reach another",
        {"Retry-After": "1"},
    )


def failed() -> ApiError:
    return ApiError(500, "internal", "the server failed; its log has the request id")


def replica_ended() -> ApiError:
    return ApiError(
        503,
        "replica_ended",
        "the replica that had this request did not answer: it may have ended; send the request "
        "again",
        {"Retry-After": "1"},
    )


def no_replica() -> ApiError:
    return ApiError(
        503,
        "no_replica",
        "no replica is there to answer: send the request again later",
        {"Retry-After": "2"},
    )


def gone() -> ApiError:
    return ApiError(499, "gone", "the client has left")  # nobody reads it but the log


def late_replica() -> ApiError:
    return ApiError(
        503,
        "timeout",
        "no replica answered in time: send fewer or shorter texts, or send them later",
        {"Retry-After": "1"},
    )


def late_body() -> ApiError:
    return ApiError(408, "timeout", "the body did not arrive in time", CLOSE)


def too_slow(seconds: float) -> ApiError:
    return ApiError(
        503,
        "timeout",
        f"there was no answer within {seconds:g} s: send fewer or shorter texts, or "
        "send them later",
        {"Retry-After": "1"},
    )


def no_scores(name: str, problem: str) -> ApiError:
    if problem == "regression":
        reason = "gives values, not classes (a regression): only classes can be scored"
    else:
        reason = (
            "gives each class a probability of its own (multi-label): only a model that gives a "
            "text one class can be scored here"
        )
    return ApiError(422, "no_scores", f"{name} {reason}")
