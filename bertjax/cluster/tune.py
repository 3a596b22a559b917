"""A search for settings: `bertjax tune DATA ... --trials N --concurrent M`.

Ray Tune starts the trials, each the finetune workflow in a process of its own; ASHA stops those
that do worse than others did after as many epochs. What is done is on disk at any time, so a search
that was killed goes on where it was.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray.tune import CLIReporter, ExperimentAnalysis, ResultGrid, RunConfig, Tuner
from ray.tune import TuneConfig as RayTuneConfig
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from bertjax.checkpoints.resolve import resolve
from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.room import room_for_trials
from bertjax.cluster.search_folder import SearchFolder
from bertjax.cluster.search_plot import plot_search
from bertjax.cluster.search_space import (
    Space,
    fixed,
    make_searcher,
    most_epochs,
    parse_space,
    searched,
)
from bertjax.cluster.session import ray_session
from bertjax.cluster.trial import BEST, make_trainable, trial_config
from bertjax.cluster.tune_console import Console
from bertjax.cluster.tune_report import (
    FAILED,
    UNFINISHED,
    Row,
    best_of,
    describe,
    rows_of,
    write_table,
)
from bertjax.errors import UserError
from bertjax.process import tunables
from bertjax.workflows.configs import FinetuneConfig, TrackingConfig
from bertjax.workflows.flat_settings import with_settings
from bertjax.workflows.prepare import read_labelled
from bertjax.workflows.recipe import versions
from bertjax.workflows.recipe_file import write_recipe
from bertjax.workflows.tracked import Tracker, tracked
from bertjax.workflows.tune_configs import TuneConfig

_REDUCTION = 3  # of trials that reach a rung of ASHA, one in so many goes on

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a box at the start, however silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
}


@dataclass(frozen=True)
class TuneResult:
    """What a search wrote."""

    folder: Path
    rows: list[Row]  # a trial each
    best: Row


def tune(config: TuneConfig) -> TuneResult:
    """Search, and write the folder of the search. Progress is told on standard error.

    Raises:
        UserError: the input cannot be used; the cluster cannot be reached or is too small; no trial
            came to its end; or the search was interrupted, and the message says how to go on.
    """
    config.check()
    base = _base(config)
    space = parse_space(config.space, base)
    base = with_settings(base, fixed(space))
    base.check()
    folder = SearchFolder(config)
    folder.refuse_what_is_there()
    _check_data(base)
    with (
        tracked(config.tracking, "tune", config.out, config.resume, _say) as tracker,
        ray_session(config.ray_address, _environment()),
        _ray_tune_is_quiet(),
    ):
        concurrent = room_for_trials(config, going_on=config.resume and folder.has_notes())
        tracker.begin(_params(config), versions())
        tuner = _tuner(config, base, space, folder, concurrent)
        kept = f"; what was done is in {config.out}: --resume goes on"
        try:
            with told_in_one_line("the search", lambda: kept):
                results = tuner.fit()
                rows = _final_rows(results)
        except KeyboardInterrupt:
            raise UserError(f"interrupted{kept}") from None
        write_table(folder.table, rows, list(searched(space)), config.metric)
        ended = sum(row.status != UNFINISHED for row in rows)
        if ended < config.trials:  # Ray Tune returns so after Ctrl-C
            raise UserError(f"interrupted after {ended} of {config.trials} trials{kept}")
        return _finish(config, base, space, folder, rows, tracker)


def _final_rows(results: ResultGrid) -> list[Row]:
    """Of the notes, where a trial that Ctrl-C has cut off is still to be run.

    There a trial whose process died seems to be running still, so those come from memory.
    """
    noted = {row.name: row for row in rows_of(ExperimentAnalysis(results.experiment_path).trials)}
    known = rows_of(results._experiment_analysis.trials)
    return [row if row.status == FAILED else noted.get(row.name, row) for row in known]


def _base(config: TuneConfig) -> FinetuneConfig:
    """The settings that all trials share, with paths that hold in any folder."""
    return FinetuneConfig(
        data=_absolute(config.data),
        text=config.text,
        label=config.label,
        checkpoint=_absolute(config.checkpoint),
        out=config.out.absolute() / "best",
        metric=config.metric,
        validation_size=config.validation_size,
        test_size=config.test_size,
        seed=config.seed,
        tracking=TrackingConfig(track=False),  # of trials: the search tells of them
    )


def _absolute(name: str) -> str:
    """What names a file or folder here, by its whole path; a URL or a name on the Hub as it is."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def _check_data(base: FinetuneConfig) -> None:
    """Refuse once, before any trial, what every trial would refuse."""
    read_labelled(base.data, base.text, base.label, base.test_size, base.validation_size, base.seed)
    resolve(base.checkpoint)


def _environment() -> dict[str, str]:
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", tunables())}


def _tuner(
    config: TuneConfig, base: FinetuneConfig, space: Space, folder: SearchFolder, concurrent: int
) -> Tuner:
    trainable = make_trainable(base, folder.runs, config.trial_cores, config.trial_gpus)
    names = tuple(searched(space))
    domains = {name: values.domain() for name, values in searched(space).items()}
    if config.resume and folder.has_notes():
        folder.restore_notes()
        rows = rows_of(ExperimentAnalysis(str(folder.state)).trials)
        ended = sum(row.status != UNFINISHED for row in rows)
        _say(f"going on after {ended} of {config.trials} trials")
        return Tuner.restore(str(folder.state), trainable, param_space=domains)
    folder.begin()
    searcher = make_searcher(config, concurrent)
    _say(
        f"{config.trials} trials, {concurrent} at once, {config.search} search over "
        f"{', '.join(names)}"
    )
    epochs = most_epochs(space)
    return Tuner(
        trainable,
        param_space=domains,
        tune_config=RayTuneConfig(
            metric=BEST,
            mode="min" if config.metric == "loss" else "max",
            num_samples=config.trials,
            search_alg=searcher,
            scheduler=ASHAScheduler(
                time_attr="epoch",
                max_t=max(epochs, config.grace) + 1,  # ending is the trial's own affair
                grace_period=config.grace,
                reduction_factor=_REDUCTION,
            ),
            reuse_actors=True,  # to start Python and import jax takes as long as a short trial
            trial_name_creator=_trial_id,
            trial_dirname_creator=_trial_id,
        ),
        run_config=RunConfig(
            name=folder.state.name,
            storage_path=str(folder.state.parent),
            verbose=0,
            progress_reporter=CLIReporter(),  # silent too; that of notebooks clears what is shown
            callbacks=[Console(config, names)],
        ),
    )


def _trial_id(trial: Trial) -> str:
    return trial.trial_id


@contextmanager
def _ray_tune_is_quiet() -> Iterator[None]:
    """Our lines alone, and a search that loses a second of notes when it is killed, not ten."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train")]
    levels = [logger.level for logger in loggers]
    before = dict(os.environ)
    os.environ.update(_QUIET)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name in _QUIET:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _finish(
    config: TuneConfig,
    base: FinetuneConfig,
    space: Space,
    folder: SearchFolder,
    rows: list[Row],
    tracker: Tracker,
) -> TuneResult:
    """The plot, the recipe and the run folder of the best; Ray Tune's notes are removed last."""
    for row in rows:
        tracker.trial(**_told(row, config.metric))
    best = best_of(rows, config.metric)
    if best is None:
        folder.end(None)
        error = next((row.error for row in rows if row.error), "")
        raise UserError(
            f"no trial came to its end, as {folder.table} shows; the first to fail: {error}"
        )
    try:
        plot_search(folder.plot, rows, searched(space), config.metric)
    except ModuleNotFoundError as error:
        _say(f"no plot: it needs the package {error.name} (pip install 'bertjax[report]')")
    write_recipe(folder.recipe, trial_config(base, best.settings, base.out))
    folder.end(best.name)
    files = (folder.table, folder.plot, folder.recipe)
    tracker.finish(folder.best, [file for file in files if file.exists()])
    _say(f"best is trial {best.number}: {config.metric} {best.best:.4f}, {describe(best.settings)}")
    return TuneResult(config.out, rows, best)


def _params(config: TuneConfig) -> dict[str, Any]:
    """The settings of a search that MLflow is told."""
    values = asdict(config)
    for name in ("out", "resume", "overwrite", "ray_address", "tracking"):
        del values[name]
    return json.loads(json.dumps(values))


def _told(row: Row, metric: str) -> dict[str, Any]:
    """A trial as a Tracker is told of it."""
    figures = {f"best_{metric}": row.best, "best_epoch": row.best_epoch}
    return {
        "name": f"trial {row.number}",
        "status": row.status,
        "params": {name: str(value) for name, value in row.settings.items()},
        "metrics": {
            "epochs": float(row.epochs),
            **{name: float(value) for name, value in figures.items() if value is not None},
        },
        "history": row.history,
        "seconds": float(row.seconds),
        "error": row.error,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr)
