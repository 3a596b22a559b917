"""One run of `bertjax finetune` with its default recipe, with a clock beside its progress bar."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.children.result import Clock, jax_device, read_settings, write_result
from bertjax.process import collect_seldom, leave_objects, tune_malloc

if __name__ == "__main__":  # before other imports, as the command does
    tune_malloc()
    collect_seldom()

from bertjax import cli
from bertjax.training.progress import Progress

CLOCK = Clock()
PLACES = ("data", "checkpoint")  # paths on this machine, which say nothing elsewhere


class ClockedProgress(Progress):
    """The bar of the training, which is told of all that the clock is to know."""

    def start(self, done: int, total: int) -> None:
        CLOCK.start()
        super().start(done, total)

    def epoch(self, record: dict[str, float]) -> None:
        CLOCK.epoch()
        super().epoch(record)


class Compilations:
    """Seconds that JAX spends before it computes, by what it does and for which function."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = defaultdict(float)

    def listen(self, event: str, duration_secs: float, **facts: str | int) -> None:
        function = str(facts.get("fun_name", ""))
        self._seconds[event.rpartition("/")[2], function] += duration_secs

    def figures(self) -> dict[str, float]:
        """Of the training step, tracing (lowering included) and compiling; all compiling.

        A program that is read from the folder of compiled ones counts as compiled.
        """
        compiling = "backend_compile_duration"
        every = [seconds for (what, _), seconds in self._seconds.items() if what == compiling]
        tracing = self._seconds["jaxpr_trace_duration", "step"]
        return {
            "step_trace_s": tracing + self._seconds["jaxpr_to_mlir_module_duration", "jit(step)"],
            "step_compile_s": self._seconds[compiling, "jit(step)"],
            "compile_s": sum(every),
        }


def main() -> None:
    settings = read_settings()
    compilations = Compilations()
    run = cli.run

    def watched(config: Any) -> int:
        # Here the command has set its process up; jax must not be imported before.
        import jax

        from bertjax.workflows import finetune

        jax.monitoring.register_event_duration_secs_listener(compilations.listen)
        finetune.Progress = ClockedProgress
        return run(config)

    cli.run = watched
    status = cli.main(_arguments(settings))
    if status:
        raise SystemExit(status)
    written = json.loads(Path(settings["out"], "bertjax.json").read_text(encoding="utf-8"))
    training, data = written["training"], written["data"]
    write_result(
        {
            "weighted_f1": written["scores"]["weighted_f1"],
            "train_s": training["seconds"],
            **CLOCK.figures(),
            **compilations.figures(),
            "input_wait_share": training["input_wait_share"],
            "epochs": training["epochs"],
            "device": jax_device(),
            **{name: data[name] for name in ("train_rows", "test_rows", "train_tokens")},
            "settings": {k: v for k, v in written["settings"].items() if k not in PLACES},
        }
    )


def _arguments(settings: dict[str, Any]) -> list[str]:
    """What a user types: data, columns, seed and folder; `--quick` says more.

    Nothing is tracked, as by no peer, unless that is what is measured.
    """
    epochs = ["--epochs", str(settings["epochs"])] if settings["epochs"] else []
    columns = ["--text", *settings["text"], "--label", settings["label"]]
    tracked = settings.get("tracked")
    tracking = ["--tracking-uri", settings["store"]] if tracked else ["--no-track"]
    places = ["--checkpoint", settings["checkpoint"], "--out", settings["out"]]
    return [
        *("finetune", settings["data"], *columns, *places),
        *("--seed", str(settings["seed"]), *tracking, *epochs),
    ]


if __name__ == "__main__":
    main()
    leave_objects()
