"""One of the processes that train a model together; Ray Train calls `work` in each of them."""

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import ray.train
from jax.experimental.multihost_utils import process_allgather
from ray.train.collective import broadcast_from_rank_zero

from bertjax.checkpoints.folder import Checkpoint, write_checkpoint
from bertjax.cluster.job import Job, Teller
from bertjax.cluster.reported import ReportedSnapshots, report
from bertjax.data.batches import Share
from bertjax.data.packing import Plan, candidate_row_lengths, cheapest_plan
from bertjax.data.shards import (
    Shard,
    count_rows,
    read_rows,
    sharded_batches,
    steps_of_epoch,
    windows_in_order,
    windows_of_epoch,
)
from bertjax.errors import UserError
from bertjax.models.fused_attention import trains_with_local_attention
from bertjax.process import return_memory_of_compilation, run_in_turn
from bertjax.training.configs import MeshShape
from bertjax.training.loop import FitResult
from bertjax.training.vocabulary import Vocabulary, word_table
from bertjax.workflows.prepare import TokenizedRows
from bertjax.workflows.probe import Head, fit_head, with_head
from bertjax.workflows.recipe import (
    TrainingData,
    circumstances,
    describe_plan,
    describe_training,
    devices,
    load_start,
    make_training,
    narrow,
    stopped_message,
    unloaded,
)
from bertjax.workflows.scoring import (
    Pass,
    Score,
    evaluation_scores,
    make_pass,
    score_with,
    with_scores,
)


class Outcome(NamedTuple):
    """What the first process returns."""

    scores: dict[str, Any]
    training: dict[str, Any]
    stopped: str  # one line on why training came to no good end
    written: bool  # whether there is a run folder: the last checkpoint


def work(settings: dict[str, Any]) -> Outcome | UserError:
    """Train a job's model with the other workers.

    Args:
        settings: `job`, a Job; `queue`, for what the driver is told; `distributed`, whether Ray has
            joined the processes already, as it does on GPUs and TPUs.

    Returns:
        The outcome, or a mistake of the user's that all processes have met with.
    """
    return_memory_of_compilation()
    run_in_turn()
    with _joined(settings["distributed"]):
        mate = _Mate(settings["job"], settings["queue"])
        start, mistake = None, None
        try:
            start = _start(settings["job"], mate)
        except UserError as error:
            mistake = error
        # The first one alone is heard by the driver. What all have met with, all end with; what
        # this one has met with, where a checkpoint is missing on its machine, ends the training.
        if heard := broadcast_from_rank_zero(mistake if mate.first else None):
            return heard
        if mistake:
            raise mistake
        assert start is not None
        try:
            return _train(start, mate)
        except UserError as error:
            return error


class _Mate:
    """This process, among the others."""

    def __init__(self, job: Job, queue):
        self.share = Share(jax.process_index(), jax.process_count())
        self.first = self.share.index == 0
        self.listener = None
        if self.first and queue is not None:
            steps = steps_of_epoch(count_rows(job.train), job.config.batch_size)
            self.listener = Teller(queue, round(job.tokens / steps))

    def say(self, line: str) -> None:
        if self.listener:
            self.listener.say(line)


@contextmanager
def _joined(distributed: bool) -> Iterator[None]:
    """All processes as one JAX, whose devices are those of all.

    Ray does so on GPUs and TPUs. On CPUs it does not, and each would train alone.
    """
    if distributed:
        yield
        return
    context = ray.train.get_context()
    rank = context.get_world_rank()
    address = broadcast_from_rank_zero(_free_address() if rank == 0 else None)
    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(address, context.get_world_size(), rank)
    try:
        yield
    finally:
        if sys.exc_info()[0] is None:  # else the others may never come to the end either
            jax.distributed.shutdown()


def _free_address() -> str:
    host = ray.util.get_node_ip_address()
    with socket.socket() as found:
        found.bind((host, 0))
        return f"{host}:{found.getsockname()[1]}"


@dataclass
class _Start:
    """All that a training begins with."""

    job: Job
    checkpoint: Checkpoint  # without parameters
    words: np.ndarray  # [V, D], all of them
    small: Checkpoint  # with those of the vocabulary; without parameters once training has begun
    plan: Plan


def _start(job: Job, mate: _Mate) -> _Start:
    config = job.config
    MeshShape.parse(config.mesh).over(devices(config))
    checkpoint = load_start(config, job.classes)
    small = narrow(checkpoint, Vocabulary(job.vocabulary), config)
    mate.say(f"{config.checkpoint}: {checkpoint.report}")
    plan = _plan(job, small)
    mate.say(f"{describe_plan(plan, config)}, {_describe_devices(mate.share.count)}")
    return _Start(job, unloaded(checkpoint), word_table(checkpoint.params), small, plan)


def _train(start: _Start, mate: _Mate) -> Outcome:
    job, small, plan = start.job, start.small, start.plan
    config = job.config
    # Of the rows to train on, this process knows no more than that they fit the plan's.
    lengths = job.held_out_lengths if len(job.held_out_lengths) else [plan.row_length]
    forward = make_pass(small, lengths, longest=plan.row_length)
    score = None
    if len(job.held_out_lengths):
        score = _shared_score(score_with(forward), len(job.classes), mate.share)

    def evaluate(params) -> dict[str, float]:
        assert score is not None
        return evaluation_scores(*score(params, job.validation), job.classes)

    pad = small.config.padding_id
    data = TrainingData(
        plan=plan,
        class_counts=job.class_counts,
        batches=lambda epoch: sharded_batches(job.train, plan, config.seed, epoch, pad, mate.share),
    )
    snapshots = ReportedSnapshots(circumstances(config, job.run), config.snapshot_every)
    began = time.perf_counter()
    training = make_training(config, small, data)
    with training.compiled_aside(small.params):
        small = with_head(small, config, lambda: _fit_head(job, small, forward, mate), mate.say)
        state = training.begin(small.params)
    start.small = small = unloaded(small)
    watched = evaluate if job.validation else None
    result = training.run(state, watched, snapshots, mate.listener)
    run = replace(job.run, training=describe_training(result, time.perf_counter() - began))
    params = Vocabulary(job.vocabulary).widen_params(result.params, start.words)
    trained = replace(start.checkpoint, params=params, run=run)
    return _finish(job, trained, score, result, mate)


def _fit_head(job: Job, checkpoint: Checkpoint, forward: Pass, mate: _Mate) -> Head | None:
    """Of the first process, for all: on another machine its last bits might be others."""
    head = None
    if mate.first:
        rows = read_rows(job.train, windows_of_epoch(job.train, job.config.seed, 0)[0])
        balanced = job.config.class_weights == "balanced"
        head = fit_head(checkpoint, forward, rows.ids, rows.labels, balanced)
    return broadcast_from_rank_zero(head)


def _plan(job: Job, checkpoint: Checkpoint) -> Plan:
    config, rows = job.config, count_rows(job.train)
    local = trains_with_local_attention(checkpoint.config, checkpoint.precision)
    candidates = candidate_row_lengths(job.longest, local)
    return cheapest_plan(
        {length: need for length, need in job.needs.items() if length in candidates},
        texts=rows,
        tokens=job.tokens,
        steps=steps_of_epoch(rows, config.batch_size),
        batch_size=config.batch_size,
        hidden_size=checkpoint.config.hidden_size,
        row_multiple=devices(config) * config.accumulation,
        local_attention=local,
    )


def _describe_devices(workers: int) -> str:
    kind = jax.devices()[0].device_kind
    noun = "worker" if workers == 1 else "workers"
    return f"{workers} {noun} with {jax.local_device_count()} x {kind} each"


ShardScore = Callable[[Any, list[Shard]], tuple[np.ndarray, np.ndarray]]


def _shared_score(score: Score, classes: int, share: Share) -> ShardScore:
    """Parameters and shards -> (labels [N], logits [N, C]) of all rows, in their order.

    Each process scores its share of the rows.
    """

    def shared(params, shards: list[Shard]) -> tuple[np.ndarray, np.ndarray]:
        labels, logits = [np.zeros(0, np.int32)], [np.zeros((0, classes), np.float32)]
        for piece in windows_in_order(shards, share):
            rows = read_rows(shards, [piece])
            labels.append(rows.labels)
            logits.append(score(params, TokenizedRows(rows.ids, rows.labels, 0)))
        return _gathered(np.concatenate(labels)), _gathered(np.concatenate(logits))

    return shared


def _gathered(mine: np.ndarray) -> np.ndarray:
    """The values [N_p, ...] of all processes, one process after the other."""
    if jax.process_count() == 1:
        return mine
    counts = process_allgather(np.array(len(mine)))
    padded = np.zeros((counts.max(), *mine.shape[1:]), mine.dtype)
    padded[: len(mine)] = mine
    found = zip(process_allgather(padded), counts.tolist(), strict=True)
    return np.concatenate([values[:count] for values, count in found])


def _finish(
    job: Job, trained: Checkpoint, score: ShardScore | None, result: FitResult, mate: _Mate
) -> Outcome:
    """Score the test rows, and report the run folder in the place of the last snapshot."""
    run = trained.run
    lost = result.ending == "not finite"  # workers are not interrupted
    if lost and result.best is None:
        line = f"{result.message}; nothing was written, since no state was good"
        return Outcome({}, run.training, line, False)
    if score:
        validation, test = (
            score(result.params, part) if part else None for part in (job.validation, job.test)
        )
        run = with_scores(run, trained.labels, validation, test)
    with tempfile.TemporaryDirectory() as folder:
        if mate.first:
            write_checkpoint(replace(trained, run=run), Path(folder))
        report(folder)
    stopped = stopped_message(job.config, result) if lost else ""
    return Outcome(run.scores, run.training, stopped, True)
