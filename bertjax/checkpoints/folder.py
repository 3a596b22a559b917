"""A checkpoint folder <-> a model with its parameters, tokenizer and labels."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import haiku as hk
import jax
import numpy as np

from bertjax.checkpoints.atomic import new_folder
from bertjax.checkpoints.convert import (
    Params,
    Report,
    initialise_rows,
    read_params,
    write_tensors,
)
from bertjax.checkpoints.files import open_tensors
from bertjax.checkpoints.names import (
    ARCHITECTURES,
    Row,
    canonical_names,
    encoder_rows,
    head_rows,
    is_head,
)
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve
from bertjax.checkpoints.run_file import RunFile, read_run_file, write_run_file
from bertjax.checkpoints.safetensors_files import write_safetensors
from bertjax.checkpoints.sentence import read_pooling, write_pooling
from bertjax.data.tokens import TOKENIZER_FILES, load_tokenizer
from bertjax.errors import UserError
from bertjax.models.configs import TASKS, BertConfig, Precision
from bertjax.models.heads import make_model
from bertjax.models.pooling import SentencePooling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PARAM_DTYPES = ("float32", "bfloat16", "float16")
# The tasks whose head has a name for each class, and those whose head is called `classifier`.
_LABELLED = ("text-classification", "token-classification")
_CLASSIFIERS = (*_LABELLED, "multiple-choice")


@dataclass(frozen=True)
class Checkpoint:
    """A BERT with the head of one task: all that is needed to compute with it."""

    config: BertConfig
    params: Params
    model: hk.Transformed  # init(rng, input_ids), apply(params, rng, input_ids, ...)
    task: str
    report: Report
    folder: Path  # where it was read from
    has_pooler: bool = True
    sentence_pooling: SentencePooling | None = None
    run: RunFile = field(
        default_factory=RunFile
    )  # how texts are prepared, and where a trained head comes from
    precision: Precision = "float32"  # of the model's products

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class, by its index."""
        return self.config.id2label

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The folder's tokenizer, read when it is first asked for.

        Raises:
            UserError: the folder has none.
        """
        return load_tokenizer(self.folder)


def load(
    name: str | Path = DEFAULT_CHECKPOINT,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    *,
    problem_type: str | None = None,
    seed: int = 0,
    precision: Precision = "float32",
    param_dtype: str = "float32",
    allow: Sequence[str] = (),
) -> Checkpoint:
    """Read a checkpoint for a task.

    Args:
        name: a folder, a name on the Hub, or the name of a model that an installed package carries.
        task: one of `bertjax.TASKS`; None takes the one that `config.json` was written for.
        labels: the classes. A head for other classes than these is initialised anew; one whose
            classes have no names (LABEL_0 ...) gets these names.
        problem_type: of text classification, instead of the config's.
        seed: of a head that the checkpoint does not have.
        precision: of matrix products: float32, bfloat16 (operands only), or auto.
        param_dtype: of the parameters, whatever the file's: float32, bfloat16 or float16.
        allow: patterns of tensor names that need not fit, such as `classifier.*`.

    Raises:
        UserError: there is no such checkpoint, or it does not fit its config.
    """
    if isinstance(allow, str):
        raise UserError(f"allow is the text {allow!r}: give a list of patterns")
    if param_dtype not in PARAM_DTYPES:
        raise UserError(f"param_dtype {param_dtype!r} is not one of {', '.join(PARAM_DTYPES)}")
    folder = resolve(str(name))
    values = _read_config(folder)
    task = task or _require_task(values, folder)
    if task not in TASKS:
        raise UserError(f"task {task!r} is not one of {', '.join(TASKS)}")
    config, same_head = _config_of(values, task, labels, problem_type)
    fresh = () if same_head else ("classifier.*",)

    reader = open_tensors(folder)
    names = {canonical for canonical, _ in canonical_names(reader.names())}
    has_pooler = task != "feature-extraction" or "bert.pooler.dense.weight" in names
    pooling = read_pooling(folder) if task == "feature-extraction" else None
    model = make_model(config, task, precision, has_pooler, pooling)
    rows = _rows(config, task, has_pooler)

    def initialise(absent: Sequence[Row]) -> Params:
        # Tracing a deep model takes longer than reading it, and a head needs no layer.
        layers = 0 if all(is_head(row.name) for row in absent) else config.num_hidden_layers
        small = replace(config, num_hidden_layers=layers)
        dummy = np.zeros((1, 1, 2) if task == "multiple-choice" else (1, 2), np.int32)
        source = make_model(small, task, precision, has_pooler, pooling)
        return initialise_rows(source, dummy, seed, absent)

    params, report = read_params(reader, rows, initialise, param_dtype, allow, fresh)
    run = read_run_file(folder) if same_head else RunFile()
    return Checkpoint(
        config, params, model, task, report, folder, has_pooler, pooling, run, precision
    )


def save(checkpoint: Checkpoint, folder: str | Path, overwrite: bool = False) -> None:
    """Write a checkpoint as a folder that transformers reads to the same logits.

    The folder appears whole or not at all.

    Raises:
        UserError: the folder exists and `overwrite` is not set, or cannot be written.
    """
    with new_folder(Path(os.path.expanduser(folder)), overwrite) as scratch:
        write_checkpoint(checkpoint, scratch)


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write config, weights, tokenizer and, of a run, `bertjax.json` into an empty folder."""
    config, task = checkpoint.config, checkpoint.task
    dtype = jax.tree.leaves(checkpoint.params)[0].dtype.name
    values = config.to_dict()
    values.pop("torch_dtype", None)  # the older name of dtype
    values |= {"architectures": [ARCHITECTURES[task]], "dtype": dtype}
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    rows = _rows(config, task, checkpoint.has_pooler)
    tensors = write_tensors(checkpoint.params, rows, bare=task == "feature-extraction")
    write_safetensors(folder / "model.safetensors", tensors)
    if checkpoint.sentence_pooling is not None:
        write_pooling(folder, checkpoint.sentence_pooling, config.hidden_size)
    if any((checkpoint.folder / name).is_file() for name in TOKENIZER_FILES):
        # Read anew: one that was in use would be written with the truncation of its last call.
        load_tokenizer(checkpoint.folder).save_pretrained(folder)
    if checkpoint.run != RunFile():
        write_run_file(folder, checkpoint.run)


def _rows(config: BertConfig, task: str, has_pooler: bool) -> list[Row]:
    return [*encoder_rows(config), *head_rows(config, task, has_pooler)]


def _config_of(
    values: dict[str, Any], task: str, labels: Sequence[str] | None, problem_type: str | None
) -> tuple[BertConfig, bool]:
    """The config to use, and whether a head called `classifier` in the file is the one for it."""
    config = BertConfig.from_dict(values)
    if problem_type is not None:
        config = replace(config, problem_type=problem_type)
    if task == "question-answering" and config.num_labels != 2:
        # Its two scores are no labels, but transformers takes their number for it.
        config = replace(config, id2label=("LABEL_0", "LABEL_1"))
    written_for = _task_of(values)
    same_task = written_for == task or written_for not in _CLASSIFIERS
    if labels is None:
        return config, same_task
    names = _checked(labels, task)
    unnamed = tuple(f"LABEL_{i}" for i in range(len(names)))
    return replace(config, id2label=names), same_task and config.id2label in (names, unnamed)


def _checked(labels: Sequence[str], task: str) -> tuple[str, ...]:
    """The labels as text; a UserError if they cannot name the classes of a head."""
    if task not in _LABELLED:
        raise UserError(f"labels are given, but {task} has none: only {' and '.join(_LABELLED)}")
    if isinstance(labels, str) or not len(labels):
        raise UserError(f"labels is {labels!r}: give a list with the name of each class")
    names = tuple(str(label) for label in labels)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"labels has {', '.join(map(repr, twice))} twice: name each class once")
    return names


def read_config(folder: Path) -> BertConfig:
    """The sizes of the model in a checkpoint folder.

    Raises:
        UserError: there is no `config.json`, or it is not that of a BERT.
    """
    return BertConfig.from_dict(_read_config(folder))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no config.json, so it is not a Hugging Face checkpoint"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, expected the fields of a config")
    return values


def _refuse_constant(name: str) -> None:
    """Python would take NaN and Infinity for numbers; JSON has neither."""
    raise ValueError(f"{name} is not a number that JSON has")


def _task_of(values: dict[str, Any]) -> str | None:
    """The task that the config's `architectures` names."""
    names = values.get("architectures") or ()
    known = (task for task, name in ARCHITECTURES.items() if name in names)
    return next(known, None)


def _require_task(values: dict[str, Any], folder: Path) -> str:
    task = _task_of(values)
    if task is None:
        raise UserError(
            f"{folder} does not say which task it is for (architectures "
            f"{values.get('architectures')}): pass one of {', '.join(TASKS)} as the task"
        )
    return task
