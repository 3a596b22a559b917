"""The HTTP interface of a served model."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

import bertjax.serving
from bertjax.data.labels import encode_labels
from bertjax.evaluation.scores import classification_scores
from bertjax.serving.deadline import Deadline
from bertjax.serving.errors import ApiError, gone, no_scores, not_ready
from bertjax.serving.front import Front
from bertjax.serving.metrics import CONTENT_TYPE
from bertjax.serving.requests import FORMS, Requests, request_types, texts_of
from bertjax.serving.schemas import (
    EmbedAnswer,
    ErrorAnswer,
    EvaluateAnswer,
    ExplainAnswer,
    ModelAnswer,
    PredictAnswer,
    PredictionAnswer,
    Status,
    WordAnswer,
)
from bertjax.serving.service import Service

T = TypeVar("T")

# The page loads nothing, from here or elsewhere; it may only ask this server.
_ONLY_HERE = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'"
)
_PATH = 100  # characters of the place of what is wrong: a client's own names may be in it
# What the framework refuses by itself.
_FRAMEWORK = {
    400: ("malformed", "the body is not JSON in UTF-8"),
    404: ("not_found", "there is nothing at this path: /docs lists what there is"),
    405: ("method_not_allowed", "this path has another method: /docs lists what there is"),
}
_REASONS = {
    400: "the body is not JSON, or the request is malformed",
    401: "the token is missing or wrong",
    408: "the body did not arrive in time",
    413: "the body is larger than the server takes",
    422: "the body is JSON, but not what is expected",
    503: "not ready, too many requests, too slow, or stopping: send it again later",
}
_BODY = (400, 408, 413, 422, 503)  # what a request with a body may be answered with


def make_app(
    service: Service,
    about: dict[str, Any],
    token: str | None = None,
    close: Callable[[], None] = lambda: None,
) -> FastAPI:
    """An app that answers from a service; who runs it has to call `service.warm_up`.

    Args:
        service: computes.
        about: the fields of `ModelAnswer`.
        token: that requests must bear; None: they need none.
        close: called when the app stops, with all requests answered.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(close)

    app = FastAPIOffline(
        redoc_url=None,
        static_url="/static",
        favicon_url="data:,",
        title="bertjax",
        version=about["model"],
        description=f"{about['name']}: a text classifier for {', '.join(about['labels'])}.",
        lifespan=lifespan,
        redirect_slashes=False,  # it would lead to whatever Host the client has named
    )
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.state.metrics = service.metrics
    states = _states(service)
    routes = [*app.routes, *states.routes]
    types = request_types(service.limits, about["text_columns"], about["labels"])
    guards = [] if token is None else [Depends(HTTPBearer(auto_error=False))]
    for router, statuses in (  # what is asked most comes first: routes are tried in turn
        (_predictions(service, types, about["model"]), _BODY),
        (_labelled(service, types, about), _BODY),
        (_facts(service, about), ()),
    ):
        known = statuses if token is None else (401, *statuses)
        app.include_router(router, dependencies=guards, responses=_failures(*known))
        routes += router.routes
    app.include_router(states)
    limits = service.limits
    app.add_middleware(Deadline, seconds=limits.timeout)
    app.add_middleware(  # around all of the above
        Front,
        metrics=service.metrics,
        token=token,
        max_body_bytes=limits.max_body_bytes,
        paths=frozenset(route.path for route in routes if isinstance(route, Route)),
    )
    return app


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorAnswer, "description": _REASONS[status]} for status in statuses}


def _states(service: Service) -> APIRouter:
    """What needs no token."""
    router = APIRouter()
    page = files(bertjax.serving).joinpath("page.html").read_text(encoding="utf-8")

    @router.head("/", include_in_schema=False)
    @router.get("/", include_in_schema=False)
    async def page_for_people() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _ONLY_HERE})

    @router.head("/health", include_in_schema=False)  # as balancers of load ask
    @router.get("/health", summary="Whether the server lives")
    async def health() -> Status:
        return Status(status="live")

    @router.head("/ready", include_in_schema=False)
    @router.get("/ready", summary="Whether it answers", responses=_failures(503))
    async def ready() -> Status:
        if not (service.ready and service.works):
            raise not_ready()
        return Status(status="ready")

    return router


def _facts(service: Service, about: dict[str, Any]) -> APIRouter:
    """What is told of the model and the server."""
    router = APIRouter()

    @router.get("/model", summary="What is served")
    async def describe() -> ModelAnswer:
        return ModelAnswer(**about)

    @router.get(
        "/metrics",
        summary="Counts, for Prometheus",
        responses={200: {"content": {CONTENT_TYPE.split(";")[0]: {}}}},
        response_class=Response,
    )
    async def metrics() -> Response:
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    return router


# The types of bodies are those of one server, which no checker of types can know.
# pyright: reportInvalidTypeForm=false


def _predictions(service: Service, types: Requests, model: str) -> APIRouter:
    """What is computed of texts."""
    router = APIRouter()

    @router.post(
        "/predict", summary="Classes and probabilities of texts", response_model=PredictAnswer
    )
    async def predict(request: Request, body: types.texts) -> Response:
        predictions = await _unless_gone(request, service.predict(texts_of(body)))
        return _answer(PredictAnswer.model_construct(model=model, predictions=predictions))

    @router.post("/embed", summary="A vector for each text", response_model=EmbedAnswer)
    async def embed(request: Request, body: types.texts) -> Response:
        vectors = await _unless_gone(request, service.embed(texts_of(body)))
        return _answer(EmbedAnswer.model_construct(model=model, embeddings=vectors.tolist()))

    @router.post("/explain", summary="Which words carry a prediction")
    async def explain(request: Request, body: types.explain) -> ExplainAnswer:
        found = await _unless_gone(request, service.explain(body.text))
        return ExplainAnswer(
            model=model,
            prediction=PredictionAnswer(**found.prediction),
            words=[WordAnswer(**word._asdict()) for word in found.words],
            words_at_once=found.words_at_once,
        )

    return router


def _labelled(service: Service, types: Requests, about: dict[str, Any]) -> APIRouter:
    """What is computed of texts whose classes are known."""
    router = APIRouter()
    labels = about["labels"]

    def check_problem() -> None:
        if about["problem"] != "single_label_classification":
            raise no_scores(about["name"], about["problem"])

    # Before the rows are looked at: no label would be right.
    checked = [Depends(check_problem)]

    @router.post("/evaluate", summary="Scores on labelled texts", dependencies=checked)
    async def evaluate(request: Request, body: types.evaluate) -> EvaluateAnswer:
        texts = [row.text for row in body.rows]
        result = await _unless_gone(request, service.probabilities(texts))
        targets = encode_labels([row.label for row in body.rows], labels)
        # Its first call imports scikit-learn, which takes seconds.
        scores = await asyncio.to_thread(
            classification_scores, targets, result.probabilities, labels
        )
        truncated = int(result.truncated.sum())
        return EvaluateAnswer(model=about["model"], truncated=truncated, **scores)

    return router


def _answer(made_here: BaseModel) -> Response:
    """As JSON, without the check of each field that FastAPI would make."""
    return Response(made_here.model_dump_json(warnings=False), media_type="application/json")


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work gives; it is cancelled when the client leaves."""
    answering: Any = asyncio.current_task()
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        has_left = True
        answering.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if not has_left or answering.uncancel():  # the server is stopped
            raise
        raise gone() from None
    finally:
        watching.cancel()


def _refuse(request: Request, error: ApiError) -> Response:
    request.app.state.metrics.error(error.code)
    return JSONResponse(error.body(request.state.request_id), error.status_code, error.headers)


async def _refuse_http(request: Request, error: Any) -> Response:
    """An ApiError, or what the framework refuses by itself."""
    if isinstance(error, ApiError):
        return _refuse(request, error)
    if isinstance(error.__cause__, ClientDisconnect):  # before the end of its body
        return _refuse(request, gone())
    code, reason = _FRAMEWORK.get(error.status_code, ("refused", str(error.detail)))
    if error.status_code == 400:
        reason = _why_no_json(error.__cause__) or reason
    return _refuse(request, ApiError(error.status_code, code, reason, error.headers))


def _why_no_json(cause: BaseException | None) -> str | None:
    """Of JSON that Python does not read; None: of bytes that are not even text."""
    if isinstance(cause, RecursionError):
        return "the body is not JSON that is read here: it is nested too deeply"
    if isinstance(cause, ValueError) and not isinstance(cause, UnicodeDecodeError):
        most = sys.get_int_max_str_digits()
        return f"the body is not JSON that is read here: a number has more than {most} digits"
    return None


async def _refuse_invalid(request: Request, error: Any) -> Response:
    """The first thing that is wrong, without what was sent: that may be long, or secret."""
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = f"the body is not JSON: {found[0]['ctx']['error']} at {found[0]['loc'][-1]}"
        return _refuse(request, ApiError(400, "malformed", reason))
    where = ".".join(_place(found[0]["loc"][1:]))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    message = f"{where[:_PATH] or 'body'}: {found[0]['msg']}{more}"
    return _refuse(request, ApiError(422, "invalid", message))


def _place(path: tuple[int | str, ...]) -> list[str]:
    """The names on the way to what is wrong, without those of forms: of a request, and of rows."""
    names = [str(part) for part in path if part not in FORMS]
    return [name if name.isprintable() else repr(name) for name in names]
