"""From a table of texts to a run folder: the workflow of `bertjax finetune`."""

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import jax
import numpy as np

from bertjax.checkpoints.atomic import new_folder, refuse_existing
from bertjax.checkpoints.folder import Checkpoint, load, write_checkpoint
from bertjax.checkpoints.run_file import RunFile, write_run_file
from bertjax.data.batches import packed_batches, packed_in_order
from bertjax.data.packing import plan_packing
from bertjax.errors import UserError
from bertjax.evaluation.scores import classification_scores
from bertjax.models.precision import resolve_precision
from bertjax.training.loop import FitResult, LoopConfig, fit
from bertjax.training.losses import classification_loss, example_losses
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import make_runner
from bertjax.training.progress import Progress
from bertjax.training.snapshots import Snapshots
from bertjax.training.steps import init_state
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.prepare import (
    LabelledTable,
    TokenizedRows,
    describe,
    read_labelled,
    tokenize_rows,
)

Say = Callable[[str], None]
Score = Callable[[Any, TokenizedRows], np.ndarray]  # parameters, N rows -> logits [N, C]

EVALUATION_TEXTS = 64  # a batch, about


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning wrote."""

    folder: Path
    scores: dict[str, Any]  # on the held-out rows; empty if none were held out
    training: dict[str, Any]  # epochs, steps, seconds, history


def finetune(config: FinetuneConfig, verbose: bool = True) -> FinetuneResult:
    """Fine-tune, evaluate on the held-out rows, and write the run folder.

    The folder appears whole or not at all. `verbose` shows what happens on standard error.

    Raises:
        UserError: the input cannot be used; or training was interrupted or lost its numbers, and
            the message says where the best state so far is.
    """

    def say(line: str) -> None:
        if verbose:
            print(line, file=sys.stderr)

    snapshots_folder = _check_out(config)
    labelled = read_labelled(
        config.data,
        config.text,
        config.label,
        config.test_size,
        config.validation_size,
        config.seed,
    )
    checkpoint = load(
        config.checkpoint,
        "text-classification",
        labelled.classes,
        problem_type="single_label_classification",
        seed=config.seed,
        precision=config.precision,
        allow=("classifier.*",),
    )
    most = checkpoint.config.max_position_embeddings
    max_length = min(config.max_length or most, most)

    def rows(indices: np.ndarray) -> TokenizedRows:
        return tokenize_rows(labelled, indices, checkpoint.tokenizer, max_length, config.clean)

    train, validation = rows(labelled.train), rows(labelled.validation)
    test = rows(labelled.test)
    score = None
    if held_out := [*validation.lengths, *test.lengths]:
        score = _make_score(checkpoint, np.array(held_out))
    data = describe(labelled, train, config.data)
    _say_data(say, checkpoint, labelled, train, max_length)
    settings = _settings(config)
    snapshots = Snapshots(
        snapshots_folder, {**settings, "data": data["fingerprint"]}, config.snapshot_every
    )
    began = time.perf_counter()
    evaluate = _make_evaluate(checkpoint, validation, score) if score and validation.ids else None
    result = _train(config, checkpoint, train, evaluate, snapshots, say, verbose)
    training = {
        "epochs": len(result.history),
        "steps": result.steps,
        "seconds": round(time.perf_counter() - began, 3),
        "ending": result.ending,
        "best_epoch": result.best_epoch,
        "history": result.history,
    }
    if result.ending == "not finite":
        snapshots.remove()  # going on would end in the same place
    if result.ending == "not finite" and result.best is None:
        raise UserError(f"{result.message}; nothing was written, since no state was good")
    run = RunFile(
        text=config.text,
        label=config.label,
        clean=config.clean,
        max_length=max_length,
        settings=settings,
        data=data,
        versions=_versions(),
        training=training,
    )
    if score and test.ids:
        logits = score(result.params, test)
        run = replace(run, scores=classification_scores(test.labels, logits, labelled.classes))
    with new_folder(config.out.absolute(), config.overwrite or config.resume) as scratch:
        write_checkpoint(replace(checkpoint, params=result.params), scratch)
        write_run_file(scratch, run)
    if result.ending in ("interrupted", "not finite"):
        raise UserError(_stopped_message(config, result))
    snapshots.remove()
    return FinetuneResult(config.out, run.scores, training)


def _check_out(config: FinetuneConfig) -> Path:
    """The folder of the run's snapshots; refuses early what would fail at the end."""
    out = config.out.absolute()
    snapshots = out.with_name(f"{out.name}.snapshots")
    unfinished = snapshots.is_dir()
    if config.resume and out.exists() and not unfinished and not config.overwrite:
        raise UserError(f"{config.out} is a finished run: there is nothing to resume")
    if unfinished and not config.resume:
        if not config.overwrite:
            raise UserError(
                f"{snapshots} holds an unfinished run: pass --resume to go on with it, or "
                "--overwrite to start anew"
            )
        shutil.rmtree(snapshots)
    refuse_existing(out, config.overwrite or (config.resume and unfinished))
    return snapshots


def _say_data(
    say: Say, checkpoint: Checkpoint, labelled: LabelledTable, train: TokenizedRows, max_length: int
) -> None:
    say(
        f"{len(labelled.labels)} rows in {len(labelled.classes)} classes: {len(labelled.train)} to "
        f"train on, {len(labelled.validation)} to validate, {len(labelled.test)} held out"
    )
    if labelled.table.dropped:
        say(f"{labelled.table.dropped} rows have no label and were dropped")
    if train.truncated:
        say(f"{train.truncated} training texts were cut to {max_length} tokens")
    say(f"{checkpoint.folder.name}: {checkpoint.report}")


def _train(
    config: FinetuneConfig,
    checkpoint: Checkpoint,
    train: TokenizedRows,
    evaluate: Callable[[Any], dict[str, float]] | None,
    snapshots: Snapshots,
    say: Say,
    verbose: bool,
) -> FitResult:
    devices = 1 if config.parallel == "jit" else jax.local_device_count()
    plan = plan_packing(
        train.lengths,
        config.batch_size,
        config.seed,
        config.epochs,
        checkpoint.config.hidden_size,
        row_multiple=devices * config.accumulation,
    )
    steps = config.epochs * plan.steps
    say(f"{plan}, {config.epochs} epochs, {resolve_precision(config.precision)}")
    optimizer = make_optimizer(config.optimizer, steps)
    loss = classification_loss(
        checkpoint.model.apply,
        class_weights=_class_weights(config, train, checkpoint.config.num_labels),
        label_smoothing=config.label_smoothing,
    )
    runner = make_runner(config.parallel, loss, optimizer, config.accumulation)
    pad = checkpoint.config.pad_token_id or 0
    progress = Progress(steps) if verbose else None
    try:
        return fit(
            LoopConfig(config.epochs, plan.steps, config.metric, config.patience),
            runner,
            init_state(checkpoint.params, optimizer, config.seed),
            lambda epoch: packed_batches(train.ids, train.labels, plan, config.seed, epoch, pad),
            evaluate,
            snapshots,
            progress,
        )
    finally:
        if progress:
            progress.close()


def _class_weights(config: FinetuneConfig, train: TokenizedRows, classes: int) -> np.ndarray | None:
    """C weights, mean 1 over the rows: N / (C x rows of the class)."""
    if config.class_weights == "none":
        return None
    return len(train.labels) / (classes * np.bincount(train.labels, minlength=classes))


def _make_evaluate(
    checkpoint: Checkpoint, rows: TokenizedRows, score: Score
) -> Callable[[Any], dict[str, float]]:
    """Parameters -> loss and scores of the rows."""

    def evaluate(params) -> dict[str, float]:
        logits = score(params, rows)
        losses = example_losses(logits, rows.labels, "single_label_classification")
        scores = classification_scores(rows.labels, logits, checkpoint.labels)
        names = ("accuracy", "weighted_f1", "macro_f1")
        return {"loss": float(losses.mean()), **{name: scores[name] for name in names}}

    return evaluate


def _make_score(checkpoint: Checkpoint, lengths: np.ndarray) -> Score:
    """Parameters and rows -> logits [N, C]: packed, in one shape for all rows of these lengths."""
    plan = plan_packing(lengths, EVALUATION_TEXTS, 0, 1, checkpoint.config.hidden_size)
    pad = checkpoint.config.pad_token_id or 0

    @jax.jit
    def logits_of(params, input_ids, segment_ids):
        output = checkpoint.model.apply(
            params, None, input_ids, segment_ids=segment_ids, max_segments=plan.max_segments
        )
        return output.logits  # [R, S, C]

    def score(params, rows: TokenizedRows) -> np.ndarray:
        logits = np.zeros((len(rows.ids), checkpoint.config.num_labels), np.float32)
        for batch in packed_in_order(rows.ids, None, plan, pad):
            values = np.asarray(logits_of(params, batch["input_ids"], batch["segment_ids"]))
            present = batch["rows_of"] >= 0
            logits[batch["rows_of"][present]] = values[present]
        return logits

    return score


def _stopped_message(config: FinetuneConfig, result: FitResult) -> str:
    if result.best is None:
        kept = "the state reached"
    else:
        kept = (
            f"the best state so far ({config.metric} {result.best:.4f}, epoch {result.best_epoch})"
        )
    onward = "; go on with --resume" if result.ending == "interrupted" else ""
    return f"{result.message}; {kept} is in {config.out}{onward}"


def _settings(config: FinetuneConfig) -> dict[str, Any]:
    """Every setting that may change the result, as JSON has it."""
    values = asdict(config)
    for name in ("out", "resume", "overwrite", "snapshot_every"):
        del values[name]
    return json.loads(json.dumps(values))


def _versions() -> dict[str, str]:
    names = ("bertjax", "jax", "jaxlib", "dm-haiku", "optax", "numpy", "transformers")
    found = {"python": python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree
            continue
    return found
