"""The `bertjax` command: one verb a workflow, made from the workflows' settings."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    PositionalMetavarFromFieldName,
    subcommand,
)

from bertjax.errors import UserError
from bertjax.process import prepare_process
from bertjax.workflows.configs import EvaluateConfig, FinetuneConfig, PredictConfig

Command = (
    Annotated[FinetuneConfig, subcommand("finetune")]
    | Annotated[EvaluateConfig, subcommand("evaluate")]
    | Annotated[PredictConfig, subcommand("predict")]
)


# Flags without a --no- twin, without the name of a nested dataclass, and DATA for `data`.
STYLE = (FlagCreatePairsOff, OmitArgPrefixes, PositionalMetavarFromFieldName)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; see `run` for the exit status."""
    try:
        try:
            config = _parse(arguments)
            prepare_process()
            return run(config)
        finally:
            sys.stdout.flush()  # else a closed pipe shows only when Python exits
    except BrokenPipeError:  # `bertjax ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _parse(arguments: Sequence[str] | None) -> FinetuneConfig | EvaluateConfig | PredictConfig:
    return tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]  # a union is a type to tyro
        prog="bertjax",
        description="Fine-tune BERT on a table of text, score it, and predict, in JAX.",
        args=arguments,
        config=STYLE,
    )


def run(config: FinetuneConfig | EvaluateConfig | PredictConfig) -> int:
    """Run a workflow. Exit status: 0 done; 2 a mistake of the user's, told in one line."""
    try:
        _run(config)
    except UserError as error:
        print(f"bertjax: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("bertjax: interrupted; nothing was written", file=sys.stderr)
    except ModuleNotFoundError as error:
        extra = "cluster" if error.name == "ray" else "train"
        print(
            f"bertjax: this needs the package {error.name}: pip install 'bertjax[{extra}]'",
            file=sys.stderr,
        )
    else:
        return 0
    return 2


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _run(config: FinetuneConfig | EvaluateConfig | PredictConfig) -> None:
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
        case PredictConfig() if config.cluster.workers:
            from bertjax.cluster.predict import predict as predict_table

            predict_table(config, _say)
        case PredictConfig():
            from bertjax.workflows.predict import predict

            predictions = predict(config, _say)
            if config.out is not None:
                print(f"wrote {len(predictions)} rows to {config.out}", file=sys.stderr)
                return
            for text, prediction in zip(config.text, predictions, strict=True):
                if config.json:
                    print(json.dumps({"text": text, **prediction}, ensure_ascii=False))
                    continue
                print(text)
                ranked = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])
                for label, probability in ranked:
                    print(f"  {probability:6.1%}  {label}")
