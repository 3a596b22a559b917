"""All that one server holds: a model, and perhaps another that is tried out."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bertjax.errors import UserError
from bertjax.serving.about import describe
from bertjax.serving.api import make_app
from bertjax.serving.asgi import App
from bertjax.serving.canary import Canary
from bertjax.serving.metrics import Metrics
from bertjax.serving.predictor import Predictor
from bertjax.serving.service import Service
from bertjax.serving.settings import Limits


@dataclass(frozen=True)
class Served:
    """An app with what it answers from."""

    app: App
    services: list[Service]
    about: list[dict[str, Any]]
    limits: Limits
    share: float

    def __str__(self) -> str:
        names = [f"{about['name']} (model {about['model']})" for about in self.about]
        return f"{names[0]}, {self.share:.0%} {names[1]}" if len(names) > 1 else names[0]

    def warm_up(self, ready: Callable[[], None]) -> None:
        """Compile all; `ready` is called as soon as texts are answered."""
        first, *others = self.services
        first.warm_up(ready)
        for service in others:
            service.warm_up()

    def stop(self) -> None:
        """Compile nothing more."""
        for service in self.services:
            service.stop()


def make_served(
    predictors: list[Predictor],
    limits: Limits,
    token: str | None,
    precision: str,
    share: float = 0.0,
) -> Served:
    """What serves the first predictor and, if there is a second, a share of the requests by that.

    Args:
        token: that requests must bear; None: they need none.
        precision: of the predictors, to be told.
        share: of the requests, from 0 to 1.

    Raises:
        UserError: the two take or give other things.
    """
    metrics = Metrics()
    about = [describe(predictor, precision) for predictor in predictors]
    for name in ("text_columns", "labels"):
        if about[0][name] != about[-1][name]:
            raise UserError(
                f"{about[-1]['name']} has other {name.replace('_', ' ')} than {about[0]['name']} "
                f"({', '.join(about[-1][name])}; {', '.join(about[0][name])}), so requests for one "
                "are none for the other: serve it by itself"
            )
    about[0]["others"] = {facts["model"]: facts["name"] for facts in about[1:]}
    alone = threading.Lock()  # two programs at once would share the cores
    services = [
        Service(predictor, limits, metrics.of(facts["model"]), alone)
        for predictor, facts in zip(predictors, about, strict=True)
    ]

    def close() -> None:
        for service in services:
            service.close()

    apps: list[App] = [
        make_app(service, facts, token, close)
        for service, facts in zip(services, about, strict=True)
    ]
    app = apps[0]
    if len(apps) > 1:
        other = services[1]
        models = about[0]["model"], about[1]["model"]
        app = Canary(apps[0], apps[1], share, lambda: other.embeds and other.works, models)
    return Served(app, services, about, limits, share)
