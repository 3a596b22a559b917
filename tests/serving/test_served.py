"""A model and one that is tried out, as one app."""

import asyncio

import httpx

from bertjax.serving.predictor import Predictor
from bertjax.serving.served import make_served
from bertjax.serving.settings import Limits


def test_a_canary_that_computes_no_more_gets_no_requests(checkpoint, tmp_path):
    first, other = (Predictor.load(checkpoint.folder) for _ in range(2))
    for predictor in (first, other):
        predictor.slots = 64  # few programs
        predictor.__dict__["embedder"] = predictor.classifier  # to compile one of them only
    served = make_served([first, other], Limits(), None, "float32", share=1.0)
    tried: list[str] = []
    _, second = served.services
    told, predict = tried.append, second.predict

    async def predict_and_tell(texts):
        told("other")
        return await predict(texts)

    second.predict = predict_and_tell  # type: ignore[method-assign]

    def status() -> int:
        async def ask() -> int:
            transport = httpx.ASGITransport(app=served.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return (await client.post("/predict", json={"text": "cat"})).status_code

        return asyncio.run(ask())

    try:
        served.warm_up(lambda: None)
        assert (status(), tried) == (200, ["other"])
        second._classifier.close()  # as when its thread has ended
        assert (status(), tried) == (200, ["other"])
    finally:
        for service in served.services:
            service.close()
