"""Fine-tune on some workers of Ray; when the first step was done, and how fast the others were."""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.children.result import read_settings, write_result


class Watched:
    """Notes when the driver was told of what."""

    def __init__(self) -> None:
        self.first_s = 0.0
        self.tokens = 0
        self.since = self.last = 0.0

    def start(self, done: int, total: int) -> None:
        pass

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        now = time.perf_counter()
        if not self.first_s:
            self.first_s = now
        elif seen and not self.since:
            self.since = now  # steps are told several at once: from one telling to the last
        elif self.since:
            self.tokens += tokens
            self.last = now

    def epoch(self, record: dict[str, float]) -> None:
        pass


def main() -> None:
    settings = read_settings()
    began = time.perf_counter()
    from bertjax.cluster.train import finetune
    from bertjax.workflows.configs import ClusterConfig, FinetuneConfig, TrackingConfig

    watched = Watched()
    config = FinetuneConfig(
        data=settings["table"],
        text=("text",),
        checkpoint=settings["checkpoint"],
        out=Path(settings["folder"]) / f"run-{settings['workers']}-{time.time_ns()}",
        epochs=1,
        precision=settings["precision"],
        cluster=ClusterConfig(workers=settings["workers"]),
        tracking=TrackingConfig(track=False),
    )
    result = finetune(config, verbose=False, listener=watched)
    write_result(
        {
            "first_step_s": watched.first_s - began,
            "tokens_s": watched.tokens / (watched.last - watched.since),
            "steps": result.training["steps"],
            "input_wait_share": result.training["input_wait_share"],
        }
    )


if __name__ == "__main__":
    main()
