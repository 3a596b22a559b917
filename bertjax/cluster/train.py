"""Fine-tuning on many processes: `bertjax finetune DATA ... --workers N`.

The table is read, tokenized and split by Ray Data, the processes are started, joined and started
anew by Ray Train, and each takes the step of `training/` on its share of a batch's rows. What a
step computes does not depend on how many there are: the batches are the same, and so is dropout.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from ray.train import CheckpointConfig, FailureConfig, RunConfig
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.jax import JaxTrainer
from ray.util.queue import Queue

from bertjax.checkpoints.atomic import new_folder
from bertjax.checkpoints.folder import read_config
from bertjax.checkpoints.resolve import resolve
from bertjax.checkpoints.run_file import RunFile
from bertjax.cluster import ingested
from bertjax.cluster.data import ingest, plan_needs
from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.ingested import Ingested, Reading
from bertjax.cluster.job import Job, deliver
from bertjax.cluster.resources import check_resources, environment_of, scaling
from bertjax.cluster.session import is_of_this_process, ray_session
from bertjax.cluster.unfinished import RUN, Unfinished
from bertjax.cluster.worker import Outcome, work
from bertjax.data.ladder import fit_ladder
from bertjax.errors import UserError
from bertjax.training.progress import Listener, Listeners, Progress
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.finetune import FinetuneResult, Say
from bertjax.workflows.recipe import max_length, settings, versions
from bertjax.workflows.tracked import Tracker, params_of, tracked


def finetune(
    config: FinetuneConfig, verbose: bool = True, listener: Listener | None = None
) -> FinetuneResult:
    """As `workflows.finetune.finetune`, on `config.cluster.workers` processes.

    Raises:
        UserError: as there; or the cluster cannot be reached, has too little, or has lost workers
            more often than `retries`.
    """

    def say(line: str) -> None:
        if verbose:
            print(line, file=sys.stderr)

    config = replace(config, parallel="mesh")
    config.check()
    unfinished = Unfinished.of(config)
    with (
        _interruptible(config, unfinished),
        unfinished.tidy(),
        tracked(config.tracking, "finetune", config.out, config.resume, say) as tracker,
        ray_session(config.cluster.ray_address),
    ):
        check_resources(config.cluster)
        with told_in_one_line(f"reading {config.data}"):
            job = _prepare(config, unfinished, say)
        tracker.begin(params_of(job.run), job.run.versions)
        with (
            told_in_one_line("training", unfinished.onward),
            _console(say, verbose, listener, tracker) as queue,
        ):
            result = _train(job, unfinished, queue)
        tracker.finish(result.folder)
        return result


@contextmanager
def _interruptible(config: FinetuneConfig, unfinished: Unfinished) -> Iterator[None]:
    """Tell of Ctrl-C in one line. Ray Train's own handler of it, which stays, is taken away."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # the second from that handler
        line = f"interrupted; {config.out} was not written{unfinished.onward()}"
        raise UserError(line) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _prepare(config: FinetuneConfig, unfinished: Unfinished, say: Say) -> Job:
    model = read_config(resolve(config.checkpoint))
    longest = max_length(config, model)
    reading = Reading(
        data=config.data,
        text=config.text,
        label=config.label,
        clean=config.clean,
        checkpoint=config.checkpoint,
        max_length=longest,
        folder=unfinished.rows,
        vocabulary=model.vocab_size,
        pad_token_id=model.padding_id,
        test_size=config.test_size,
        validation_size=config.validation_size,
        seed=config.seed,
    )
    if unfinished.has_snapshot():
        ingested.refuse_other(reading)
    if found := ingested.read(reading):
        say(f"the rows of {config.data} are taken as they were read for this run before")
    else:
        found = ingest(reading)
    _say_data(say, found, longest)
    run = RunFile(
        text=config.text,
        label=config.label,
        clean=config.clean,
        max_length=longest,
        ladder=fit_ladder(found.lengths, longest, model.hidden_size),
        settings=settings(config),
        data=_describe(found, config.data),
        versions=versions(),
    )
    needs = plan_needs(
        found.train, config.batch_size, config.seed, config.epochs, model.hidden_size
    )
    held_out = bool(found.validation.shards or found.test.shards)
    return Job(
        config=config,
        classes=found.classes,
        vocabulary=found.vocabulary,
        train=found.train.shards,
        validation=found.validation.shards,
        test=found.test.shards,
        class_counts=found.train.counts,
        tokens=found.train.tokens,
        needs=needs,
        longest=found.train.longest,
        held_out_lengths=found.lengths if held_out else found.lengths[:0],
        run=run,
    )


def _say_data(say: Say, found: Ingested, longest: int) -> None:
    train, validation, test = (
        int(part.counts.sum()) for part in (found.train, found.validation, found.test)
    )
    say(
        f"{found.rows} rows in {len(found.classes)} classes: {train} to train on, "
        f"{validation} to validate, {test} held out"
    )
    if found.dropped:
        say(f"{found.dropped} rows have no label and were dropped")
    if found.truncated:
        say(f"{found.truncated} texts were cut to {longest} tokens")


def _describe(found: Ingested, source: str) -> dict[str, Any]:
    """The facts on the data that a run folder keeps."""
    return {
        "source": source,
        "fingerprint": found.fingerprint,
        "rows": found.rows,
        "dropped_without_label": found.dropped,
        "train_rows": int(found.train.counts.sum()),
        "validation_rows": int(found.validation.counts.sum()),
        "test_rows": int(found.test.counts.sum()),
        "classes": found.class_rows,
        "train_tokens": found.train.tokens,
        "truncated": found.truncated,
    }


def _train(job: Job, unfinished: Unfinished, queue: Queue | None) -> FinetuneResult:
    config, cluster = job.config, job.config.cluster
    kind = _TrainerWithoutCleaner if is_of_this_process() else JaxTrainer
    trainer = kind(
        work,
        train_loop_config={
            "job": job,
            "queue": queue,
            "distributed": bool(cluster.worker_gpus or cluster.topology),
        },
        scaling_config=scaling(cluster),
        run_config=RunConfig(
            name=RUN,
            storage_path=unfinished.place,
            failure_config=FailureConfig(max_failures=cluster.retries),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": environment_of(cluster)},
        ),
    )
    result = trainer.fit()
    outcome = result.return_value
    if isinstance(outcome, UserError):  # a setting, say: with this one none can go on
        if not unfinished.has_snapshot():
            unfinished.remove()
        raise outcome
    assert isinstance(outcome, Outcome)
    if outcome.written:
        assert result.checkpoint is not None
        with new_folder(config.out.absolute(), config.overwrite or config.resume) as scratch:
            result.checkpoint.to_directory(scratch)
    unfinished.remove()  # going on from lost numbers would end in the same place
    if outcome.stopped:
        raise UserError(outcome.stopped)
    return FinetuneResult(config.out, outcome.scores, outcome.training)


class _TrainerWithoutCleaner(JaxTrainer):
    """Without Ray Train's process that frees a dead controller's cores: here they end with Ray.

    It asks whatever cluster `ray start` has last told of on this machine, and if that one has
    ended, a training of less than 40 s waits 12 s more for the answer.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [one for one in callbacks if not isinstance(one, PlacementGroupCleanerCallback)]


@contextmanager
def _console(
    say: Say, verbose: bool, listener: Listener | None, tracker: Tracker
) -> Iterator[Queue | None]:
    """A queue through which the first worker tells; what it tells is shown by a thread."""
    if not verbose and listener is None and not tracker.listens:
        yield None
        return
    bar = Progress()
    shown = listener or (bar if verbose else None)
    told = Listeners(*filter(None, (shown, tracker)))
    methods = SimpleNamespace(say=say, start=told.start, step=told.step, epoch=told.epoch)
    queue = Queue(actor_options={"num_cpus": 0})
    ended = threading.Event()
    thread = threading.Thread(target=deliver, args=(queue, methods, ended.is_set), daemon=True)
    thread.start()
    try:
        yield queue
    finally:
        ended.set()
        thread.join()
        bar.close()
        queue.shutdown()
