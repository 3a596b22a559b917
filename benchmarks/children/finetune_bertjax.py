"""One run of `bertjax finetune` with its default recipe, with a clock beside its progress bar."""

import json
from pathlib import Path
from typing import Any

import jax

from benchmarks.children.result import Clock, read_settings, write_result
from bertjax.cli import main as bertjax
from bertjax.training.progress import Progress
from bertjax.workflows import finetune as workflow

CLOCK = Clock()
COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"
PLACES = ("data", "checkpoint")  # paths on this machine, which say nothing elsewhere


class ClockedProgress(Progress):
    """The bar of the training, which is told of all that the clock is to know."""

    def start(self, done: int) -> None:
        CLOCK.start()
        super().start(done)

    def step(self, tokens: int, loss: float | None) -> None:
        CLOCK.step()
        super().step(tokens, loss)

    def epoch(self, record: dict[str, float]) -> None:
        CLOCK.epoch()
        super().epoch(record)


def main() -> None:
    settings = read_settings()
    compiled: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == COMPILE_EVENT:
            compiled.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    workflow.Progress = ClockedProgress
    status = bertjax(_arguments(settings))
    if status:
        raise SystemExit(status)
    run = json.loads(Path(settings["out"], "bertjax.json").read_text(encoding="utf-8"))
    write_result(
        {
            "weighted_f1": run["scores"]["weighted_f1"],
            "train_s": run["training"]["seconds"],
            **CLOCK.figures(),
            "compile_s": sum(compiled),
            "train_rows": run["data"]["train_rows"],
            "test_rows": run["data"]["test_rows"],
            "settings": {k: v for k, v in run["settings"].items() if k not in PLACES},
        }
    )


def _arguments(settings: dict[str, Any]) -> list[str]:
    """What a user types; only `--quick` says more than data, columns, seed and folder."""
    epochs = ["--epochs", str(settings["epochs"])] if settings["epochs"] else []
    columns = ["--text", *settings["text"], "--label", settings["label"]]
    places = ["--checkpoint", settings["checkpoint"], "--out", settings["out"]]
    return [
        *("finetune", settings["data"], *columns, *places),
        *("--seed", str(settings["seed"]), *epochs),
    ]


if __name__ == "__main__":
    main()
