"""What a training tells MLflow: its settings, data, figures, and what it has written."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bertjax.checkpoints.run_file import RunFile, read_run_file
from bertjax.checkpoints.tracked_run import write_run_id
from bertjax.errors import UserError
from bertjax.tracking.recorder import Recorded, Recorder
from bertjax.tracking.store import is_installed, shown, store_uri
from bertjax.workflows import pyfunc
from bertjax.workflows.configs import TrackingConfig

Say = Callable[[str], None]

PATIENCE = 15.0  # seconds in which a store that is away when training ends may come back
OFF = "BERTJAX_TRACK"  # environment variable; 0: nothing is tracked

# Of the held-out rows: as `bertjax evaluate` names them.
_SCORES = ("accuracy", "weighted_f1", "macro_f1", "weighted_precision", "weighted_recall")


class Tracker:
    """A listener of the loop that passes on what it hears; without a recorder it does nothing."""

    def __init__(self, recorder: Recorder | None, config: TrackingConfig, say: Say):
        self._recorder = recorder
        self._config = config
        self._say = say
        self._step = 0
        self._begun = False

    @property
    def listens(self) -> bool:
        """Whether anything is done with what it hears."""
        return self._recorder is not None

    def begin(self, params: dict[str, Any], versions: dict[str, str]) -> None:
        """Begin the run, once all of a training is known but its outcome.

        Raises:
            UserError: the store cannot be used.
        """
        if self._recorder is None:
            return
        self._recorder.wait_until_ready()
        tags = {f"version.{name}": version for name, version in versions.items()}
        self._recorder.tell("begin", params=params, tags=tags)
        self._begun = True

    def start(self, done: int, total: int) -> None:
        self._step = done

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        self._step += 1
        if self._recorder and seen:
            self._recorder.steps(self._step - len(seen) + 1, seen)

    def epoch(self, record: dict[str, float]) -> None:
        if self._recorder:
            self._recorder.metrics(round(record["epoch"]), _named(record))

    def trial(self, history: Sequence[dict[str, float]], **values: Any) -> None:
        """A trial of a search.

        Args:
            history: the record of each epoch.
            values: the rest of what `tracking.trials` logs.
        """
        if self._recorder:
            epochs = [(round(record["epoch"]), _named(record)) for record in history]
            self._recorder.tell("trial", epochs=epochs, **values)

    def finish(self, folder: Path, files: Sequence[Path] = ()) -> None:
        """Hand over the run folder and other files, and say what became of them.

        Whatever the store does, the training has come to its end: nothing is raised.
        """
        if self._recorder is None:
            return
        run = read_run_file(folder)
        try:
            self._recorder.metrics(run.training.get("epochs", 0), _outcome(run))
            recorded = self._recorder.finish(
                folder=str(folder.absolute()),
                files=[str(file.absolute()) for file in files],
                history=run.training.get("history", []),
                scores=run.scores,
                model=pyfunc.describe(run, folder),
                register=self._config.register or _registered_name(self._config.experiment),
            )
        except KeyboardInterrupt:
            recorded = Recorded("", "", {"what was not sent yet": "interrupted"})
        if recorded.run_id:
            with suppress(OSError):  # a server that does not tell the run is no reason to fail
                write_run_id(folder, recorded.run_id)
        self._say(_describe(recorded, self._config))

    def fail(self, error: BaseException) -> None:
        """Note that the training has ended by an error, if the run was begun."""
        if self._recorder and self._begun:
            status = "KILLED" if _is_interruption(error) else "FAILED"
            self._recorder.fail(str(error) or type(error).__name__, status)


@contextmanager
def tracked(
    config: TrackingConfig, kind: str, out: Path, resume: bool, say: Say
) -> Iterator[Tracker]:
    """A tracker of a training. Another process opens the store meanwhile.

    Args:
        kind: finetune or tune.
        out: the folder that is written.
        resume: whether to go on with the run of a training of that folder which was cut off.

    Raises:
        UserError: no store is named so; or a store was named, and MLflow is not installed.
    """
    recorder = _open(config, kind, out, resume, say)
    tracker = Tracker(recorder, config, say)
    try:
        yield tracker
    except BaseException as error:
        tracker.fail(error)
        raise
    finally:
        if recorder:
            recorder.close()


def _open(config: TrackingConfig, kind: str, out: Path, resume: bool, say: Say) -> Recorder | None:
    if not config.track or os.environ.get(OFF) == "0":
        return None
    store = store_uri(config.tracking_uri)
    if not is_installed():
        advice = "pip install 'bertjax[tracking]', or --no-track"
        if config.tracking_uri:
            raise UserError(f"--tracking-uri needs the package mlflow: {advice}")
        say(f"not tracked, since MLflow is not installed: {advice}")
        return None
    return Recorder(
        {
            "store": store,
            "experiment": config.experiment,
            "name": out.name,
            "out": str(out.absolute()),
            "resume": resume,
            "kind": kind,
            "patience": PATIENCE,
        }
    )


def _is_interruption(error: BaseException) -> bool:
    """Whether the user wanted it; a training that Ctrl-C has stopped says so in a line."""
    stopped = isinstance(error, UserError) and str(error).startswith(("stopped", "interrupted"))
    return stopped or isinstance(error, KeyboardInterrupt)


def params_of(run: RunFile) -> dict[str, Any]:
    """Every setting and the facts on the data, flat, in the names of flags where they have one."""
    settings = dict(run.settings)
    settings |= settings.pop("optimizer", {})
    facts = {name: value for name, value in run.data.items() if name != "classes"}
    classes = run.data.get("classes", {})
    return {
        **settings,
        **{f"data_{name}": value for name, value in facts.items()},
        "data_classes": len(classes),
        "ladder": run.ladder,
    }


def _named(record: dict[str, float]) -> dict[str, float]:
    """The figures of an epoch, by names that tell them from those of held-out rows."""
    return {
        name if name == "train_loss" else f"validation_{name}": value
        for name, value in record.items()
        if name != "epoch"
    }


def _outcome(run: RunFile) -> dict[str, float]:
    """Scores of the held-out rows by the names of `bertjax evaluate`, and figures of the run."""
    scores = {name: run.scores[name] for name in _SCORES if name in run.scores}
    figures = ("seconds", "epochs", "steps", "best_epoch", "input_wait_share")
    training = {name: run.training[name] for name in figures if name in run.training}
    return {**scores, **{f"training_{name}": float(value) for name, value in training.items()}}


def _registered_name(experiment: str) -> str:
    """An experiment's name without what the registry does not take."""
    return "".join("-" if letter in "/:.%\"'" else letter for letter in experiment)


def _describe(recorded: Recorded, config: TrackingConfig) -> str:
    store = shown(store_uri(config.tracking_uri))
    model = f", model {recorded.model}" if recorded.model else ""
    which = f"run {recorded.run_id[:8]}" if recorded.run_id else "a run"
    line = f"tracked as {which} of experiment {config.experiment} in {store}"
    if not recorded.lost:
        return line + model
    lost = "; ".join(f"{what} ({why})" for what, why in recorded.lost.items())
    return f"{line}{model}, but the store did not take: {lost}"
