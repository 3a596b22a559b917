"""Read, tokenize, split, plan and iterate a table through Ray; how fast, and in how much memory."""

import logging
import time
from pathlib import Path
from typing import Any

from benchmarks.children.ray_memory import Watch, peak_of
from benchmarks.children.result import read_settings, write_result

BATCH = 32  # texts a step
WIDTH = 384  # of a MiniLM


def main() -> None:
    settings = read_settings()
    began = time.perf_counter()
    start(settings)
    times = {"start_s": time.perf_counter() - began}
    import ray

    with Watch() as watch:
        facts = run(settings, times)
    write_result(
        {
            **times,
            **facts,
            "driver_peak_bytes": peak_of(Path("/proc/self")),
            "worker_peak_bytes": watch.peak_bytes,
            "worker_own_peak_bytes": watch.own_peak_bytes,
        }
    )
    ray.shutdown()


def start(settings: dict[str, Any]) -> None:
    """Ray with so many cores and so large an object store, and what the stages import."""
    import ray

    from bertjax.cluster.session import ENVIRONMENT

    ray.init(
        address="local",
        num_cpus=settings["cores"],
        object_store_memory=settings["object_store_bytes"],
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": ENVIRONMENT},
    )
    import bertjax.cluster.data  # noqa: F401


def run(settings: dict[str, Any], times: dict[str, float]) -> dict[str, Any]:
    """Take the stages one after the other, and note the seconds of each in `times`."""
    from bertjax.cluster.data import ingest, plan_needs
    from bertjax.data.packing import cheapest_plan
    from bertjax.data.shards import count_rows, sharded_batches, steps_of_epoch

    began = time.perf_counter()
    found = ingest(reading(settings))
    times["ingest_s"] = time.perf_counter() - began
    began = time.perf_counter()
    needs = plan_needs(found.train, BATCH, 0, 1, WIDTH)
    times["plan_s"] = time.perf_counter() - began
    rows = count_rows(found.train.shards)
    plan = cheapest_plan(
        needs,
        texts=rows,
        tokens=found.train.tokens,
        steps=steps_of_epoch(rows, BATCH),
        batch_size=BATCH,
        hidden_size=WIDTH,
    )
    began = time.perf_counter()
    batches = sharded_batches(found.train.shards, plan, 0, 0)
    tokens = sum(int((batch["segment_ids"] > 0).sum()) for batch in batches)
    times["iterate_s"] = time.perf_counter() - began
    assert tokens == found.train.tokens
    return {"rows": found.rows, "train_rows": rows, "train_tokens": tokens, "fill": plan.fill}


def reading(settings: dict[str, Any]) -> Any:
    """What the table is to become, in a new folder."""
    from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
    from bertjax.cluster.ingested import Reading

    return Reading(
        data=settings["table"],
        text=("text",),
        label="label",
        clean=False,
        checkpoint=DEFAULT_CHECKPOINT,
        max_length=512,
        folder=str(Path(settings["folder"], f"rows-{settings['cores']}-{time.time_ns()}")),
        vocabulary=30522,
        pad_token_id=0,
        test_size=0.1,
        validation_size=0.0,
        seed=0,
    )


if __name__ == "__main__":
    main()
