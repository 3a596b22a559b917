"""From a table of texts to a run folder: the workflow of `bertjax finetune`."""

import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bertjax.checkpoints.atomic import new_folder, refuse_existing
from bertjax.checkpoints.folder import Checkpoint, read_config, write_checkpoint
from bertjax.checkpoints.resolve import resolve
from bertjax.checkpoints.run_file import RunFile
from bertjax.data.batches import packed_batches
from bertjax.data.ladder import fit_ladder
from bertjax.data.packing import plan_packing
from bertjax.data.tokens import load_tokenizer
from bertjax.errors import UserError
from bertjax.models.fused_attention import trains_with_local_attention
from bertjax.training.configs import MeshShape
from bertjax.training.loop import FitResult
from bertjax.training.progress import Listener, Listeners, Progress
from bertjax.training.snapshots import Snapshots
from bertjax.training.vocabulary import Vocabulary, word_table
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.prepare import (
    LabelledTable,
    TokenizedRows,
    describe,
    read_labelled,
    tokenize_rows,
)
from bertjax.workflows.probe import Head, fit_head, with_head
from bertjax.workflows.recipe import (
    Training,
    TrainingData,
    circumstances,
    describe_plan,
    describe_training,
    devices,
    load_start,
    make_training,
    max_length,
    narrow,
    settings,
    stopped_message,
    unloaded,
    versions,
)
from bertjax.workflows.scoring import (
    Pass,
    Score,
    Scored,
    make_evaluate,
    make_pass,
    score_with,
    with_scores,
)
from bertjax.workflows.tracked import Tracker, params_of, tracked

Say = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning wrote."""

    folder: Path
    scores: dict[str, Any]  # on the held-out rows; empty if none were held out
    training: dict[str, Any]  # epochs, steps, seconds, history


def finetune(
    config: FinetuneConfig, verbose: bool = True, listener: Listener | None = None
) -> FinetuneResult:
    """Fine-tune, evaluate on the held-out rows, and write the run folder.

    The folder appears whole or not at all. `verbose` shows what happens on standard error, steps
    and epochs in a progress bar unless a `listener` is told of them instead.

    Raises:
        UserError: the input cannot be used; or training was interrupted or lost its numbers, and
            the message says where the best state so far is.
    """

    def say(line: str) -> None:
        if verbose:
            print(line, file=sys.stderr)

    config.check()
    MeshShape.parse(config.mesh).over(devices(config))
    folder = _open_snapshots(config)
    with tracked(config.tracking, "finetune", config.out, config.resume, say) as tracker:
        bar = Progress() if verbose and listener is None else None
        try:
            told = Listeners(*filter(None, (listener or bar, tracker)))
            result = _finetune(config, folder, say, tracker, told)
        finally:
            if bar:
                bar.close()
        tracker.finish(result.folder)
        return result


def _finetune(
    config: FinetuneConfig, folder: Path, say: Say, tracker: Tracker, listener: Listener
) -> FinetuneResult:
    labelled = read_labelled(
        config.data,
        config.text,
        config.label,
        config.test_size,
        config.validation_size,
        config.seed,
        config.soft_labels,
    )
    checkpoint, rows = _load(config, labelled)
    _say_data(say, config.checkpoint, checkpoint, labelled, rows)
    run = RunFile(
        text=config.text,
        label=config.label,
        clean=config.clean,
        max_length=rows.max_length,
        ladder=fit_ladder(rows.lengths(), rows.max_length, checkpoint.config.hidden_size),
        settings=settings(config),
        data=describe(labelled, rows.train, config.data),
        versions=versions(),
    )
    say(f"texts to predict will be padded to {', '.join(map(str, run.ladder))} tokens")
    snapshots = Snapshots(folder, circumstances(config, run), config.snapshot_every)
    vocabulary = Vocabulary.of(rows.token_ids(), checkpoint.config)
    words = word_table(checkpoint.params)
    small, rows = narrow(checkpoint, vocabulary, config), rows.renamed(vocabulary)
    forward = make_pass(small, rows.lengths())
    score = score_with(forward) if rows.validation.ids or rows.test.ids else None
    tracker.begin(params_of(run), run.versions)
    began = time.perf_counter()
    training = _training(config, small, rows, say)
    with training.compiled_aside(small.params):
        small = with_head(small, config, lambda: _fit_head(config, small, forward, rows.train), say)
        state = training.begin(small.params)
    checkpoint, small = unloaded(checkpoint), unloaded(small)
    evaluate = None
    if score and rows.validation.ids:
        evaluate = make_evaluate(small.labels, rows.validation, score)
    result = training.run(state, evaluate, snapshots, listener)
    run = replace(run, training=describe_training(result, time.perf_counter() - began))
    params = vocabulary.widen_params(result.params, words)
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


def _load(config: FinetuneConfig, labelled: LabelledTable) -> tuple[Checkpoint, _Rows]:
    """The checkpoint to start from, read while the rows are tokenized."""
    source = resolve(config.checkpoint)
    with ThreadPoolExecutor(1, "load") as aside:
        loading = aside.submit(load_start, config, labelled.classes, source)
        rows = _tokenize(config, labelled, source)
    return loading.result(), rows


def _tokenize(config: FinetuneConfig, labelled: LabelledTable, folder: Path) -> _Rows:
    longest = max_length(config, read_config(folder))
    tokenizer = load_tokenizer(folder)

    def rows(indices: np.ndarray) -> TokenizedRows:
        return tokenize_rows(labelled, indices, tokenizer, longest, config.clean)

    return _Rows(rows(labelled.train), rows(labelled.validation), rows(labelled.test), longest)


def _fit_head(
    config: FinetuneConfig, checkpoint: Checkpoint, forward: Pass, rows: TokenizedRows
) -> Head | None:
    balanced = config.class_weights == "balanced"
    return fit_head(checkpoint, forward, rows.ids, rows.targets, balanced)


def _open_snapshots(config: FinetuneConfig) -> Path:
    """Their folder, emptied if that was asked for."""
    folder = snapshots_folder(config)
    unfinished = folder.is_dir()
    check_out(config, str(folder), unfinished)
    if unfinished and not config.resume:
        shutil.rmtree(folder)
    return folder


def check_out(config: FinetuneConfig, place: str, unfinished: bool) -> None:
    """Refuse early what would fail at the end.

    Args:
        place: of the run's snapshots.
        unfinished: whether a run has left some there.
    """
    out = config.out.absolute()
    if config.resume and out.exists() and not (unfinished or config.overwrite):
        raise UserError(f"{config.out} is a finished run: there is nothing to resume")
    if unfinished and not (config.resume or config.overwrite):
        raise UserError(
            f"{place} holds an unfinished run: pass --resume to go on with it, or --overwrite to "
            "start anew"
        )
    refuse_existing(out, config.overwrite or (config.resume and unfinished))


def snapshots_folder(config: FinetuneConfig) -> Path:
    """Beside the run folder, until that is written."""
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
    if labelled.table.soft:
        say(
            "trained on probabilities; rows that are held out are scored against their most "
            "probable class, which need not be the true one"
        )
    if cut := sum(part.truncated for part in (rows.train, rows.validation, rows.test)):
        say(
            f"{cut} texts, {rows.train.truncated} of them to train on, were cut to "
            f"{rows.max_length} tokens"
        )
    say(f"{name}: {checkpoint.report}")


def _training(config: FinetuneConfig, checkpoint: Checkpoint, rows: _Rows, say: Say) -> Training:
    part = rows.train
    plan = plan_packing(
        part.lengths,
        config.batch_size,
        config.seed,
        config.epochs,
        checkpoint.config.hidden_size,
        row_multiple=devices(config) * config.accumulation,
        local_attention=trains_with_local_attention(checkpoint.config, checkpoint.precision),
    )
    say(describe_plan(plan, config))
    pad = checkpoint.config.padding_id
    data = TrainingData(
        plan=plan,
        class_counts=part.class_counts(checkpoint.config.num_labels),
        batches=lambda epoch: packed_batches(part.ids, part.targets, plan, config.seed, epoch, pad),
    )
    return make_training(config, checkpoint, data)


def _finish(
    config: FinetuneConfig,
    trained: Checkpoint,
    rows: _Rows,
    score: Score | None,
    result: FitResult,
    run: RunFile,
) -> FinetuneResult:
    """Score, write the run folder, and remove the snapshots of a run that has come to its end."""
    snapshots = snapshots_folder(config)
    if result.ending == "not finite":
        shutil.rmtree(snapshots, ignore_errors=True)  # going on would end in the same place
        if result.best is None:
            raise UserError(f"{result.message}; nothing was written, since no state was good")

    def scored(part: TokenizedRows) -> Scored | None:
        return (part.labels, score(result.params, part)) if score and part.ids else None

    run = with_scores(run, trained.labels, scored(rows.validation), scored(rows.test))
    with new_folder(config.out.absolute(), config.overwrite or config.resume) as scratch:
        write_checkpoint(replace(trained, run=run), scratch)
    if result.ending in ("interrupted", "not finite"):
        raise UserError(stopped_message(config, result))
    shutil.rmtree(snapshots, ignore_errors=True)
    return FinetuneResult(config.out, run.scores, run.training)
