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
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from bertjax.checkpoints.atomic import new_folder, refuse_existing
from bertjax.checkpoints.folder import Checkpoint, load, write_checkpoint
from bertjax.checkpoints.run_file import RunFile
from bertjax.data.batches import packed_batches
from bertjax.data.ladder import fit_ladder
from bertjax.data.packing import plan_packing
from bertjax.errors import UserError
from bertjax.evaluation.scores import classification_scores
from bertjax.models.heads import make_model
from bertjax.models.precision import resolve_precision
from bertjax.training.configs import MeshShape
from bertjax.training.loop import FitResult, LoopConfig, fit
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import Runner, make_runner
from bertjax.training.progress import Progress
from bertjax.training.snapshots import Snapshots
from bertjax.training.steps import init_state
from bertjax.training.vocabulary import Vocabulary
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.prepare import (
    LabelledTable,
    TokenizedRows,
    describe,
    read_labelled,
    tokenize_rows,
)
from bertjax.workflows.scoring import Score, make_evaluate, make_score

Say = Callable[[str], None]


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

    config.check()
    MeshShape.parse(config.mesh).over(_devices(config))
    snapshots_folder = _check_out(config)
    labelled = read_labelled(
        config.data,
        config.text,
        config.label,
        config.test_size,
        config.validation_size,
        config.seed,
    )
    checkpoint = _load(config, labelled.classes)
    rows = _tokenize(config, checkpoint, labelled)
    _say_data(say, config.checkpoint, checkpoint, labelled, rows)
    run = RunFile(
        text=config.text,
        label=config.label,
        clean=config.clean,
        max_length=rows.max_length,
        ladder=fit_ladder(rows.lengths(), rows.max_length, checkpoint.config.hidden_size),
        settings=_settings(config),
        data=describe(labelled, rows.train, config.data),
        versions=_versions(),
    )
    say(f"texts to predict will be padded to {', '.join(map(str, run.ladder))} tokens")
    snapshots = Snapshots(snapshots_folder, _circumstances(config, run), config.snapshot_every)
    vocabulary = Vocabulary.of(rows.token_ids(), checkpoint.config)
    narrow, rows = _narrow(checkpoint, vocabulary, config), rows.renamed(vocabulary)
    score = None
    if len(held_out := np.concatenate([rows.validation.lengths, rows.test.lengths])):
        score = make_score(narrow, held_out)
    began = time.perf_counter()
    result = _train(config, narrow, rows, score, snapshots, say, verbose)
    run = replace(run, training=_describe_training(result, time.perf_counter() - began))
    params = vocabulary.widen_params(result.params, checkpoint.params)
    return _finish(config, replace(checkpoint, params=params), rows, score, result, run)


class _Rows(NamedTuple):
    train: TokenizedRows
    validation: TokenizedRows
    test: TokenizedRows
    max_length: int

    def lengths(self) -> np.ndarray:
        return np.concatenate([self.train.lengths, self.validation.lengths, self.test.lengths])

    def token_ids(self) -> list[np.ndarray]:
        return [*self.train.ids, *self.validation.ids, *self.test.ids]

    def renamed(self, vocabulary: Vocabulary) -> "_Rows":
        """The same rows with the token ids of a vocabulary."""

        def rename(part: TokenizedRows) -> TokenizedRows:
            return replace(part, ids=vocabulary.narrow_ids(part.ids))

        return _Rows(
            rename(self.train), rename(self.validation), rename(self.test), self.max_length
        )


def _narrow(checkpoint: Checkpoint, vocabulary: Vocabulary, config: FinetuneConfig) -> Checkpoint:
    """The checkpoint with the words of a vocabulary alone, and the model that is trained."""
    narrow = vocabulary.narrow_config(checkpoint.config)
    model = make_model(narrow, checkpoint.task, config.precision, remat=config.rematerialise)
    params = vocabulary.narrow_params(checkpoint.params)
    return replace(checkpoint, config=narrow, model=model, params=params)


def _load(config: FinetuneConfig, classes: tuple[str, ...]) -> Checkpoint:
    return load(
        config.checkpoint,
        "text-classification",
        classes,
        problem_type="single_label_classification",
        seed=config.seed,
        precision=config.precision,
        allow=("classifier.*",),
    )


def _tokenize(config: FinetuneConfig, checkpoint: Checkpoint, labelled: LabelledTable) -> _Rows:
    most = checkpoint.config.max_position_embeddings
    max_length = min(config.max_length or most, most)

    def rows(indices: np.ndarray) -> TokenizedRows:
        return tokenize_rows(labelled, indices, checkpoint.tokenizer, max_length, config.clean)

    return _Rows(rows(labelled.train), rows(labelled.validation), rows(labelled.test), max_length)


def _check_out(config: FinetuneConfig) -> Path:
    """The folder of the run's snapshots; refuses early what would fail at the end."""
    out, snapshots = config.out.absolute(), _snapshots_folder(config)
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


def _snapshots_folder(config: FinetuneConfig) -> Path:
    out = config.out.absolute()
    return out.with_name(f"{out.name}.snapshots")


def _say_data(
    say: Say, name: str, checkpoint: Checkpoint, labelled: LabelledTable, rows: _Rows
) -> None:
    say(
        f"{len(labelled.labels)} rows in {len(labelled.classes)} classes: {len(labelled.train)} to "
        f"train on, {len(labelled.validation)} to validate, {len(labelled.test)} held out"
    )
    if labelled.table.dropped:
        say(f"{labelled.table.dropped} rows have no label and were dropped")
    if cut := sum(part.truncated for part in (rows.train, rows.validation, rows.test)):
        say(
            f"{cut} texts, {rows.train.truncated} of them to train on, were cut to "
            f"{rows.max_length} tokens"
        )
    say(f"{name}: {checkpoint.report}")


def _train(
    config: FinetuneConfig,
    checkpoint: Checkpoint,
    rows: _Rows,
    score: Score | None,
    snapshots: Snapshots,
    say: Say,
    verbose: bool,
) -> FitResult:
    train = rows.train
    plan = plan_packing(
        train.lengths,
        config.batch_size,
        config.seed,
        config.epochs,
        checkpoint.config.hidden_size,
        row_multiple=_devices(config) * config.accumulation,
    )
    steps = config.epochs * plan.steps
    epochs = "1 epoch" if config.epochs == 1 else f"{config.epochs} epochs"
    say(f"{plan}, {epochs}, {resolve_precision(config.precision)}")
    optimizer = make_optimizer(config.optimizer, steps)
    runner = _make_runner(config, checkpoint, train, optimizer)
    evaluate = None
    if score and rows.validation.ids:
        evaluate = make_evaluate(checkpoint, rows.validation, score)
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


def _make_runner(
    config: FinetuneConfig,
    checkpoint: Checkpoint,
    train: TokenizedRows,
    optimizer: optax.GradientTransformation,
) -> Runner:
    loss = classification_loss(
        checkpoint.model.apply,
        class_weights=_class_weights(config, train, checkpoint.config.num_labels),
        label_smoothing=config.label_smoothing,
    )
    return make_runner(
        config.parallel,
        loss,
        optimizer,
        config.accumulation,
        config.rematerialise,
        MeshShape.parse(config.mesh),
    )


def _devices(config: FinetuneConfig) -> int:
    return 1 if config.parallel == "jit" else jax.local_device_count()


def _class_weights(config: FinetuneConfig, train: TokenizedRows, classes: int) -> np.ndarray | None:
    """C weights, mean 1 over the rows: N / (C x rows of the class)."""
    if config.class_weights == "none":
        return None
    return len(train.labels) / (classes * np.bincount(train.labels, minlength=classes))


def _describe_training(result: FitResult, seconds: float) -> dict[str, Any]:
    return {
        "epochs": len(result.history),
        "steps": result.steps,
        "seconds": round(seconds, 3),
        "ending": result.ending,
        "best_epoch": result.best_epoch,
        "input_wait_share": round(result.input_wait_share, 4),
        "history": result.history,
    }


def _finish(
    config: FinetuneConfig,
    trained: Checkpoint,
    rows: _Rows,
    score: Score | None,
    result: FitResult,
    run: RunFile,
) -> FinetuneResult:
    """Score, write the run folder, and remove the snapshots of a run that has come to its end."""
    snapshots = _snapshots_folder(config)
    if result.ending == "not finite":
        shutil.rmtree(snapshots, ignore_errors=True)  # going on would end in the same place
        if result.best is None:
            raise UserError(f"{result.message}; nothing was written, since no state was good")
    if score and rows.test.ids:
        logits = score(result.params, rows.test)
        run = replace(run, scores=classification_scores(rows.test.labels, logits, trained.labels))
    with new_folder(config.out.absolute(), config.overwrite or config.resume) as scratch:
        write_checkpoint(replace(trained, run=run), scratch)
    if result.ending in ("interrupted", "not finite"):
        raise UserError(_stopped_message(config, result))
    shutil.rmtree(snapshots, ignore_errors=True)
    return FinetuneResult(config.out, run.scores, run.training)


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


def _circumstances(config: FinetuneConfig, run: RunFile) -> dict[str, Any]:
    """All that decides the bits of a run: a resumed one must have the same."""
    return {
        **run.settings,
        "data": run.data["fingerprint"],
        "precision": resolve_precision(config.precision),
        "devices": _devices(config),
    }


def _versions() -> dict[str, str]:
    names = ("bertjax", "jax", "jaxlib", "dm-haiku", "optax", "numpy", "transformers")
    found = {"python": python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree
            continue
    return found
