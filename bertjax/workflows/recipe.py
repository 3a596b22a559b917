"""What a fine-tuning does with its data, on one process or many: model, runner, loop, run file."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.checkpoints.run_file import RunFile
from bertjax.data import packing
from bertjax.data.batches import Batch
from bertjax.data.packing import Plan
from bertjax.models import dropout
from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model
from bertjax.models.precision import resolve_precision
from bertjax.training import optimizer
from bertjax.training.configs import MeshShape
from bertjax.training.loop import FitResult, LoopConfig, fit
from bertjax.training.losses import classification_loss, without_rows_of
from bertjax.training.parallel import Runner, make_runner
from bertjax.training.progress import Listener
from bertjax.training.snapshots import Keeper
from bertjax.training.steps import TrainState, init_state
from bertjax.training.vocabulary import Vocabulary
from bertjax.workflows.configs import FinetuneConfig


@dataclass(frozen=True)
class TrainingData:
    """What is trained on; the ids are those of the narrow checkpoint."""

    plan: Plan
    class_counts: np.ndarray  # rows to train on of each class [C]; of soft labels, expected ones
    batches: Callable[[int], Iterator[Batch]]  # of an epoch


def load_start(
    config: FinetuneConfig, classes: tuple[str, ...], folder: Path | None = None
) -> Checkpoint:
    """The checkpoint to start from, with a head for these classes; `folder`: where it lies."""
    return load(
        folder or config.checkpoint,
        "text-classification",
        classes,
        problem_type="single_label_classification",
        seed=config.seed,
        precision=config.precision,
        allow=("classifier.*",),
    )


def max_length(config: FinetuneConfig, model: BertConfig) -> int:
    """The most tokens of a text that are read."""
    most = model.max_position_embeddings
    return min(config.max_length or most, most)


def narrow(checkpoint: Checkpoint, vocabulary: Vocabulary, config: FinetuneConfig) -> Checkpoint:
    """The checkpoint with the words of a vocabulary alone, and the model that is trained.

    `config.dropout` is this model's alone: the written config.json keeps the checkpoint's, so that
    a later fine-tuning of the run folder begins with what its model was made with.
    """
    small = _with_dropout(vocabulary.narrow_config(checkpoint.config), config.dropout)
    model = make_model(small, checkpoint.task, config.precision, remat=config.rematerialise)
    params = vocabulary.narrow_params(checkpoint.params)
    return replace(checkpoint, config=small, model=model, params=params)


def unloaded(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without its parameters, once training has a copy: they take memory."""
    return replace(checkpoint, params={})


def _with_dropout(model: BertConfig, dropout: float | None) -> BertConfig:
    if dropout is None:
        return model
    return replace(
        model,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        classifier_dropout=None,  # the head's is that of hidden states
    )


@dataclass(frozen=True)
class Training:
    """All that a training needs but its first parameters."""

    loop: LoopConfig
    runner: Runner
    data: TrainingData
    state: Callable[[Any], TrainState]  # before the first step, from parameters

    def begin(self, params: Any) -> TrainState:
        """That state, as the runner has placed it; the parameters stay as they are."""
        return self.runner.place(self.state(params))

    @contextmanager
    def compiled_aside(self, params: Any) -> Iterator[None]:
        """Compile the step in a thread, beside what is done within; of `params` the shapes matter.

        What fails in it fails again at the first step, and is told there.
        """

        def compile_step() -> None:
            batch = self.runner.place_batch(without_rows_of(next(self.data.batches(0))))
            self.runner.compile(jax.eval_shape(self.state, params), batch)

        with ThreadPoolExecutor(1, "compile") as aside:
            aside.submit(compile_step)
            yield

    def run(
        self,
        state: TrainState,
        evaluate: Callable[[Any], dict[str, float]] | None,
        snapshots: Keeper,
        progress: Listener | None,
    ) -> FitResult:
        """Train from where it was begun; other arguments as of `fit`."""
        return fit(
            self.loop,
            self.runner,
            state,
            self.data.batches,
            evaluate,
            snapshots,
            progress,
        )


def make_training(config: FinetuneConfig, checkpoint: Checkpoint, data: TrainingData) -> Training:
    """The training of a narrow checkpoint, on as many devices as the settings say."""
    plan = data.plan
    adamw = optimizer.make_optimizer(config.optimizer, config.epochs * plan.steps)
    loss = classification_loss(
        checkpoint.model.apply,
        class_weights=(
            balanced_weights(data.class_counts) if config.class_weights == "balanced" else None
        ),
        label_smoothing=config.label_smoothing,
    )
    runner = make_runner(
        config.parallel,
        loss,
        adamw,
        config.accumulation,
        config.rematerialise,
        MeshShape.parse(config.mesh),
        largest_activation=checkpoint.config.largest_activation(plan.rows, plan.row_length),
    )
    return Training(
        LoopConfig(config.epochs, plan.steps, config.metric, config.patience),
        runner,
        data,
        lambda params: init_state(params, adamw, config.seed),
    )


def devices(config: FinetuneConfig) -> int:
    """How many devices share the rows of a step."""
    match config.parallel:
        case "jit":
            return 1
        case "pmap":
            return jax.local_device_count()
        case "mesh":
            return jax.device_count()


def describe_plan(plan: Plan, config: FinetuneConfig) -> str:
    """The line that tells how long and in what shapes a training will run."""
    epochs = "1 epoch" if config.epochs == 1 else f"{config.epochs} epochs"
    return f"{plan}, {epochs}, {resolve_precision(config.precision)}"


def describe_training(result: FitResult, seconds: float) -> dict[str, Any]:
    """What `bertjax.json` keeps of a training."""
    return {
        "epochs": len(result.history),
        "steps": result.steps,
        "seconds": round(seconds, 3),
        "ending": result.ending,
        "best_epoch": result.best_epoch,
        "input_wait_share": round(result.input_wait_share, 4),
        "history": result.history,
    }


def stopped_message(config: FinetuneConfig, result: FitResult) -> str:
    """The line for a training that came to no good end, but left a state."""
    if result.best is None:
        kept = "the state reached"
    else:
        kept = (
            f"the best state so far ({config.metric} {result.best:.4f}, epoch {result.best_epoch})"
        )
    onward = "; go on with --resume" if result.ending == "interrupted" else ""
    return f"{result.message}; {kept} is in {config.out}{onward}"


def settings(config: FinetuneConfig) -> dict[str, Any]:
    """Every setting that may change the result, as JSON has it."""
    values = asdict(config)
    for name in ("out", "resume", "overwrite", "snapshot_every", "cluster", "tracking"):
        del values[name]
    return json.loads(json.dumps(values))


def circumstances(config: FinetuneConfig, run: RunFile) -> dict[str, Any]:
    """All that decides the bits of a run: a resumed one must have the same."""
    return {
        **run.settings,
        "data": run.data["fingerprint"] + run.data.get("soft_fingerprint", ""),
        "precision": resolve_precision(config.precision),
        "devices": devices(config),
        "platform": jax.default_backend(),  # another one packs other rows, and rounds elsewhere
        "dropout's bits": dropout.VERSION,
        "optimizer's state": optimizer.VERSION,
        "packing of rows": packing.VERSION,
        "jax": jax.__version__,
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide the numbers."""
    names = ("bertjax", "jax", "jaxlib", "dm-haiku", "optax", "numpy", "transformers")
    found = {"python": python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree
            continue
    return found


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """C weights, mean 1 over the rows: N / (C x rows of the class); 0 of a class without any."""
    weights = np.zeros(len(counts))
    return np.divide(counts.sum(), len(counts) * counts, out=weights, where=counts > 0)
