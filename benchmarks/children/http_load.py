"""Send texts to a server over so many connections, one text a request; note times and answers."""

import asyncio
import time
from typing import Any

import aiohttp
import numpy as np

from benchmarks.children.result import read_settings, write_result

TIMEOUT = aiohttp.ClientTimeout(total=120)


def body_of(form: str, text: str) -> dict[str, Any]:
    """What a server of a form is sent."""
    if form == "infinity":
        return {"model": "model", "input": [text], "raw_scores": False}
    return {"text": text}


def label_of(form: str, answer: dict[str, Any]) -> str:
    """The class in an answer."""
    if form == "infinity":
        return max(answer["data"][0], key=lambda entry: entry["score"])["label"]
    if form == "bertjax":
        return answer["predictions"][0]["label"]
    return answer["prediction"]


async def load(settings: dict[str, Any]) -> dict[str, Any]:
    """Send `requests` of the texts in turn, after `warm_up` that do not count.

    Rate and times are of those that were answered; `failed` counts all that were not.
    """
    texts, form = settings["texts"], settings["form"]
    total = settings["warm_up"] + settings["requests"]
    seconds: list[float] = []
    labels: dict[int, str] = {}
    failed = 0
    began = time.perf_counter()
    numbers = iter(range(total))

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal began, failed
        for number in numbers:
            if number == settings["warm_up"]:
                began = time.perf_counter()
            text = number % len(texts)
            sent = time.perf_counter()
            async with session.post(settings["url"], json=body_of(form, texts[text])) as answer:
                # A failure may be told in plain text.
                found = await answer.json() if answer.status == 200 else None
            if found is None:
                failed += 1
                continue
            labels[text] = label_of(form, found)
            if number >= settings["warm_up"]:
                seconds.append(time.perf_counter() - sent)

    connector = aiohttp.TCPConnector(limit=settings["connections"])
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        await asyncio.gather(*(client(session) for _ in range(settings["connections"])))
    wall = time.perf_counter() - began
    if not seconds:
        raise RuntimeError(f"{settings['url']} answered none of {settings['requests']} requests")
    p50, p99 = np.percentile(seconds, (50, 99)).tolist()
    return {
        "requests_s": len(seconds) / wall,
        "p50_s": p50,
        "p99_s": p99,
        "failed": failed,
        "labels": [labels.get(i) for i in range(len(texts))],
    }


def main() -> None:
    write_result(asyncio.run(load(read_settings())))


if __name__ == "__main__":
    main()
