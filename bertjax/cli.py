"""The `bertjax` command: one verb a workflow, made from the workflows' settings."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    PositionalMetavarFromFieldName,
    subcommand,
)

from bertjax.errors import UserError
from bertjax.process import prepare_process, run_in_turn
from bertjax.workflows.configs import EvaluateConfig, FinetuneConfig, PredictConfig
from bertjax.workflows.explore_configs import ExploreConfig
from bertjax.workflows.flat_settings import with_settings
from bertjax.workflows.label_configs import LabelConfig
from bertjax.workflows.recipe_file import read_recipe
from bertjax.workflows.runs import RunsConfig
from bertjax.workflows.serve_configs import ServeConfig
from bertjax.workflows.tune_configs import TuneConfig

if TYPE_CHECKING:
    from bertjax.serving.predictor import Prediction

Config = (
    ExploreConfig
    | LabelConfig
    | FinetuneConfig
    | EvaluateConfig
    | PredictConfig
    | TuneConfig
    | ServeConfig
    | RunsConfig
)


@dataclass(frozen=True, kw_only=True)
class _FinetuneCommand(FinetuneConfig):
    __doc__ = FinetuneConfig.__doc__
    config: Path | None = None
    """A recipe, as `tune` writes one: a JSON file of settings. Flags beside it go before them."""


def _command(recipe: dict[str, Any]) -> Any:
    """The union of verbs, a type to tyro; the recipe's settings are the defaults of finetune."""
    if recipe:
        missing: Any = tyro.MISSING  # asked for, unless the recipe has it
        default = with_settings(_FinetuneCommand(data=missing, out=missing), recipe)
        finetune = subcommand("finetune", default=default)
    else:
        finetune = subcommand("finetune")
    return (
        Annotated[_FinetuneCommand, finetune]
        | Annotated[EvaluateConfig, subcommand("evaluate")]
        | Annotated[PredictConfig, subcommand("predict")]
        | Annotated[TuneConfig, subcommand("tune")]
        | Annotated[ServeConfig, subcommand("serve")]
        | Annotated[ExploreConfig, subcommand("explore")]
        | Annotated[LabelConfig, subcommand("label")]
        | Annotated[RunsConfig, subcommand("runs")]
    )


# The packages of each extra but `train`, by the names of their modules.
_EXTRAS = {
    "cluster": ("ray", "optuna", "hyperopt"),
    "tracking": ("mlflow", "sqlalchemy", "requests", "rich"),
    "serve": ("fastapi", "fastapi_offline", "uvicorn", "prometheus_client", "pythonjsonlogger"),
    "labels": ("snorkel", "torch"),
    "report": (
        *("jinja2", "wordcloud", "matplotlib", "datasketch", "fontTools", "PIL"),
        *("cleanlab", "lime"),
    ),
}

# Flags without a --no- twin, without the name of a nested dataclass, and DATA for `data`.
STYLE = (FlagCreatePairsOff, OmitArgPrefixes, PositionalMetavarFromFieldName)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; see `run` for the exit status."""
    try:
        try:
            config = parse(sys.argv[1:] if arguments is None else arguments)
            prepare_process()
            if isinstance(config, FinetuneConfig):
                run_in_turn()
            return run(config)
        except UserError as error:  # in a recipe
            return _refuse(error)
        finally:
            sys.stdout.flush()  # else a closed pipe shows only when Python exits
    except BrokenPipeError:  # `bertjax ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def parse(arguments: Sequence[str]) -> Config:
    """The settings of the verb that the arguments begin with.

    Raises:
        UserError: a recipe that they name cannot be read.
        SystemExit: they are not what a verb takes, or ask for help, which is printed.
    """
    config = tyro.cli(
        _command(_recipe_of(arguments)),
        prog="bertjax",
        description="Explore or label a table of text, fine-tune BERT on it, predict and serve.",
        args=arguments,
        config=STYLE,
    )
    if isinstance(config, _FinetuneCommand):
        values = {entry.name: getattr(config, entry.name) for entry in fields(FinetuneConfig)}
        return FinetuneConfig(**values)
    return config


def _recipe_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Read before the flags are, which go before it."""
    if list(arguments[:1]) != ["finetune"]:
        return {}
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if flag == "--config" and value:
            return read_recipe(Path(value))
        if flag.startswith("--config="):
            return read_recipe(Path(flag.removeprefix("--config=")))
    return {}


def run(config: Config) -> int:
    """Run a workflow. Exit status: 0 done; 2 a mistake of the user's, in one line; 130 Ctrl-C."""
    try:
        _run(config)
    except UserError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        writes = not isinstance(config, ServeConfig | RunsConfig)
        print(f"bertjax: interrupted{'; nothing was written' * writes}", file=sys.stderr)
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        extra = next((name for name, of in _EXTRAS.items() if error.name in of), "train")
        print(
            f"bertjax: this needs the package {error.name}: pip install 'bertjax[{extra}]'",
            file=sys.stderr,
        )
    else:
        return 0
    return 2


def _refuse(error: UserError) -> int:
    print(f"bertjax: {error}", file=sys.stderr)
    return 2


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _run(config: Config) -> None:
    """Dispatch; the workflows import jax and more, so each is imported when it is asked for."""
    match config:
        case FinetuneConfig():
            from bertjax.evaluation.scores import scores_table

            if config.cluster.workers:
                from bertjax.cluster.train import finetune
            else:
                from bertjax.workflows.finetune import finetune

            result = finetune(config)
            if result.scores:
                print(scores_table(result.scores))
            print(f"\nwrote {result.folder}", file=sys.stderr)
        case EvaluateConfig():
            from bertjax.evaluation.scores import scores_table
            from bertjax.workflows.evaluate import evaluate

            scores = evaluate(config, _say)
            print(json.dumps(scores, indent=2) if config.json else scores_table(scores))
            if config.out is not None:
                print(f"\nwrote {config.out / 'report.html'}", file=sys.stderr)
        case PredictConfig() if config.cluster.workers:
            from bertjax.cluster.predict import predict as predict_table

            predict_table(config, _say)
        case TuneConfig():
            from bertjax.cluster.tune import tune

            result = tune(config)
            print(f"\nwrote {result.folder}", file=sys.stderr)
        case ServeConfig():
            if config.cluster.ray:
                from bertjax.cluster.serve import serve
            else:
                from bertjax.workflows.serve import serve

            serve(config, _say)
        case ExploreConfig():
            from bertjax.workflows.explore import explore

            explore(config, _say)
            print(f"\nwrote {config.out / 'report.html'}", file=sys.stderr)
        case LabelConfig():
            from bertjax.workflows.label import label
            from bertjax.workflows.label_facts import facts_table

            facts = label(config, _say)
            print(json.dumps(facts, indent=2) if config.json else facts_table(facts))
            if config.out:
                print(f"\nwrote {facts['written']} rows to {config.out}", file=sys.stderr)
        case RunsConfig():
            from bertjax.workflows.runs import list_tracked, print_runs

            print_runs(list_tracked(config), config)
        case PredictConfig():
            from bertjax.workflows.predict import predict

            _show_predictions(config, predict(config, _say))


def _show_predictions(config: PredictConfig, predictions: "list[Prediction]") -> None:
    if config.out is not None:
        print(f"wrote {len(predictions)} rows to {config.out}", file=sys.stderr)
        return
    for text, prediction in zip(config.text, predictions, strict=True):
        if config.json:
            print(json.dumps({"text": text, **prediction}, ensure_ascii=False))
            continue
        print(text)
        for label, probability in sorted(
            prediction["probabilities"].items(), key=lambda item: -item[1]
        ):
            print(f"  {probability:6.1%}  {label}")
