"""Read, tokenize, split, plan and iterate a table through Ray; how fast, and in how much memory."""

import logging
import time
from pathlib import Path

from benchmarks.children.ray_memory import Watch, peak_of
from benchmarks.children.result import read_settings, write_result


def main() -> None:
    settings = read_settings()
    began = time.perf_counter()
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
    from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
    from bertjax.cluster.data import ingest, plan_needs
    from bertjax.cluster.ingested import Reading
    from bertjax.data.packing import cheapest_plan
    from bertjax.data.shards import count_rows, sharded_batches, steps_of_epoch

    times = {"start_s": time.perf_counter() - began}
    rows = Path(settings["folder"], f"rows-{settings['cores']}-{time.time_ns()}")
    rows.mkdir()
    with Watch() as watch:
        began = time.perf_counter()
        found = ingest(
            Reading(
                data=settings["table"],
                text=("text",),
                label="label",
                clean=False,
                checkpoint=DEFAULT_CHECKPOINT,
                max_length=512,
                folder=str(rows),
                vocabulary=30522,
                pad_token_id=0,
                test_size=0.1,
                validation_size=0.0,
                seed=0,
            )
        )
        times["ingest_s"] = time.perf_counter() - began
        began = time.perf_counter()
        needs = plan_needs(found.train, 32, 0, 1, 384)
        times["plan_s"] = time.perf_counter() - began
        count = count_rows(found.train.shards)
        plan = cheapest_plan(
            needs,
            texts=count,
            tokens=found.train.tokens,
            steps=steps_of_epoch(count, 32),
            batch_size=32,
            hidden_size=384,
        )
        began = time.perf_counter()
        tokens = sum(
            int((batch["segment_ids"] > 0).sum())
            for batch in sharded_batches(found.train.shards, plan, 0, 0)
        )
        times["iterate_s"] = time.perf_counter() - began
    assert tokens == found.train.tokens
    write_result(
        {
            **times,
            "rows": found.rows,
            "train_rows": count,
            "train_tokens": tokens,
            "fill": plan.fill,
            "driver_peak_bytes": peak_of(Path("/proc/self")),
            "worker_peak_bytes": watch.peak_bytes,
            "worker_own_peak_bytes": watch.own_peak_bytes,
        }
    )
    ray.shutdown()


if __name__ == "__main__":
    main()
