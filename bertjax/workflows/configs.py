"""The settings of each workflow, from which the command line is made; light to import."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
from bertjax.errors import UserError
from bertjax.models.configs import Precision
from bertjax.training.configs import MeshShape, OptimizerConfig, Parallel


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """Where and on how many processes, through Ray."""

    workers: int = 0
    """Processes on Ray that share the work; 0: this one alone, without Ray."""
    worker_gpus: int = 0
    """GPUs of each worker; 0: it computes on CPUs."""
    ray_address: str | None = None
    """Of a running Ray cluster, as in 10.0.0.1:6379; by default one is started here, and ended."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        for name in ("workers", "worker_gpus"):
            _check_range(name, getattr(self, name), 0, None)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(WorkersConfig):
    """Where and on how many processes one model is trained, through Ray."""

    worker_gpus: int = 0
    """GPUs of each worker, of which a machine holds one; 0: they train on CPUs."""
    topology: str | None = None
    """Of a slice of TPUs, as in 4x4: a worker on each of its machines."""
    accelerator: str | None = None
    """Kind of the TPUs of --topology, as in TPU-V6E."""
    storage: str | None = None
    """Folder or s3://, gs:// address that all machines reach; by default beside --out."""
    retries: int = 3
    """How often training goes on from its last snapshot after a worker was lost."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        super().check()
        _check_range("retries", self.retries, 0, None)
        if bool(self.topology) != bool(self.accelerator):
            raise UserError("--topology and --accelerator describe TPUs together: give both")
        if self.topology and self.worker_gpus:
            raise UserError("--worker-gpus is for GPUs and --topology for TPUs: give one of them")


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where MLflow keeps what is told of a training."""

    track: bool = True
    """Tell MLflow of it, if that is installed; BERTJAX_TRACK=0 in the environment turns it off."""
    tracking_uri: str | None = None
    """MLflow's store, as in http://host:5000 or sqlite:///mlflow.db; by default that of
    MLFLOW_TRACKING_URI, else the file mlflow.db here."""
    experiment: str = "bertjax"
    """Of MLflow, under which the run is listed."""
    register: str | None = None
    """Name in MLflow's registry of which the model becomes a version; by default the experiment."""

    def check(self) -> None:
        """Raise a UserError if a name is none."""
        for flag, name in {"experiment": self.experiment, "register": self.register}.items():
            if name is not None and not name.strip():
                raise UserError(f"--{flag} is empty: give a name")
        if self.register and set("/:.%\"'") & set(self.register):
            raise UserError(
                f"--register is {self.register!r}, but a name in MLflow's registry has none of "
                "/ : . % and quotes"
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune a BERT to classify the texts of a table, and write a run folder."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`; with
    --workers also a folder of files, here or at an s3:// or gs:// address."""
    out: Path
    """The run folder to write: a Hugging Face checkpoint with bertjax.json beside it."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text; several are joined by a space."""
    label: str = "label"
    """Column that holds the class."""
    soft_labels: bool = False
    """Train on probabilities, as `label` writes them: a column LABEL:CLASS for each class."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """What to start from: a folder, a name on the Hub, or a packaged model."""
    epochs: int = 2
    """How often every training row is seen."""
    batch_size: int = 32
    """Texts a step."""
    accumulation: int = 1
    """Parts into which a step is cut, to save memory where activations take more of it than the
    gradient. That stays the whole step's, but with dropout each part draws masks of its own: then
    it is the same on average alone."""
    rematerialise: bool = False
    """Recompute activations in the backward pass: less memory, up to two fifths more time."""
    max_length: int | None = None
    """Tokens of a text that are read; by default the most that the model can."""
    head: Literal["fitted", "random"] = "fitted"
    """What a new head starts from. fitted: logistic regression on what the checkpoint makes of the
    texts, before anything else is trained; random: the seed."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    dropout: float | None = None
    """Of hidden states, attention and head; by default what the checkpoint says."""
    clean: bool = False
    """Lowercase the texts and drop stop words and punctuation first."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare classes weigh as much as frequent ones."""
    label_smoothing: float = 0.0
    """Share of the target probability that is spread over all classes."""
    test_size: float = 0.2
    """Share of the rows that is held out for the report; 0: none."""
    validation_size: float = 0.0
    """Share of the rows by which the best state is chosen and the temperature of its probabilities
    fitted; 0: the last state is kept, and its probabilities as they are."""
    metric: Literal["weighted_f1", "macro_f1", "accuracy", "loss"] = "weighted_f1"
    """Of the validation rows, after each epoch: decides which state is best."""
    patience: int = 0
    """Epochs without a better state before training stops; 0: never."""
    seed: int = 0
    """Of the split, the new head, the order of rows, and dropout."""
    precision: Precision = "auto"
    """Of matrix products; auto: bfloat16 where the hardware has it, else float32."""
    parallel: Parallel = "jit"
    """jit: one device; mesh or pmap: all devices, each with a share of the rows."""
    mesh: str = ""
    """Devices of --parallel mesh, as in data=4,fsdp=2: fsdp share one copy of all parameters."""
    snapshot_every: int = 0
    """Steps between snapshots for --resume; 0: one a minute."""
    resume: bool = False
    """Go on with a run that was cut off, to the result that it would have had."""
    overwrite: bool = False
    """Replace the run folder if it exists."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        for name in ("epochs", "batch_size", "accumulation"):
            _check_range(name, getattr(self, name), 1, None)
        if self.max_length is not None:
            _check_range("max_length", self.max_length, 3, None)
        for name in ("patience", "snapshot_every", "seed"):
            _check_range(name, getattr(self, name), 0, None)
        for name in ("label_smoothing", "test_size", "validation_size"):
            _check_range(name, getattr(self, name), 0, 1)
        for name in ("learning_rate", "weight_decay", "clip_norm"):
            _check_range(name, getattr(self.optimizer, name), 0, None)
        _check_range("warmup", self.optimizer.warmup, 0, 1)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout is {self.dropout}, but must be at least 0 and less than 1")
        self.cluster.check()
        self.tracking.check()
        if self.soft_labels and self.cluster.workers:
            raise UserError("--soft-labels are trained on by one process: leave out --workers")
        MeshShape.parse(self.mesh)
        if self.mesh and self.parallel != "mesh":
            raise UserError(f"--mesh {self.mesh} needs --parallel mesh, not {self.parallel}")


def _check_range(name: str, value: float, least: float, most: float | None) -> None:
    if not (least <= value and (most is None or value <= most)):  # a NaN is in no range
        flag = name.replace("_", "-")
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"--{flag} is {value}, but must be {bounds}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score a run folder on a table of labelled texts; --out writes a report with pictures."""

    run: Positional[str]
    """The run folder, or any checkpoint of a text classifier; or one that MLflow knows, as
    run:ID, best:EXPERIMENT:METRIC or models:/NAME@ALIAS."""
    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    text: tuple[str, ...] = ()
    """Columns that hold the text; by default those that the run was trained on."""
    label: str | None = None
    """Column that holds the class; by default the one that the run was trained on."""
    precision: Precision = "float32"
    """Of matrix products; auto: bfloat16 where the hardware has it."""
    out: Path | None = None
    """The folder of a report: report.html, report.json and figures/ with each picture as PNG."""
    slices: Path | None = None
    """A Python file with slices: functions slice_NAME(row) that say yes or no, or Snorkel's."""
    train: str | None = None
    """The table that the run was trained on; by default the one that its folder names, if it is
    still there."""
    held_out: bool = False
    """Score only rows whose text the run was not trained on."""
    overwrite: bool = False
    """Replace --out if it exists."""
    json: bool = False
    """Print the scores as JSON and not as a table."""
    tracking_uri: str | None = None
    """Store of a run that MLflow knows, as of `finetune`."""
    explain: int = 10
    """Of the surest wrong predictions so many are shown in the report with the weight of each word,
    and half as many right ones; 0: none."""
    lime: bool = False
    """Weigh the words of these by LIME too, which takes a few seconds a text."""
    behaviour: Path | None = None
    """A Python file with behavioural tests of yours, which the report shows beside those that are
    built in."""
    compare: str | None = None
    """Another run to compare with in the report, named as RUN is."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range, or is for a report without --out."""
        _check_range("explain", self.explain, 0, None)
        for name in ("slices", "overwrite", "lime", "behaviour", "compare", "train"):
            own_use = name == "train" and self.held_out
            if getattr(self, name) and self.out is None and not own_use:
                raise UserError(f"--{name} is for a report: give --out FOLDER too")


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Predict the class of texts, given on the command line or in a table."""

    run: Positional[str]
    """The run folder, or any checkpoint of a text classifier; or one that MLflow knows, as
    run:ID, best:EXPERIMENT:METRIC or models:/NAME@ALIAS."""
    text: tuple[str, ...] = ()
    """Texts to classify."""
    data: str | None = None
    """A table of texts instead, of the kinds that `finetune` reads; it needs no labels."""
    columns: tuple[str, ...] = ()
    """Columns of --data that hold the text; by default those that the run was trained on."""
    out: Path | None = None
    """Where --data's rows are written with their predictions: .csv, .tsv, .jsonl or .parquet; with
    --workers a folder."""
    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None
    """Of the files that --workers write into the folder --out; by default that of --data."""
    precision: Precision = "float32"
    """Of matrix products; auto: bfloat16 where the hardware has it."""
    json: bool = False
    """Print a line of JSON a text."""
    resume: bool = False
    """Go on with a --workers job that was cut off; what it has finished is kept."""
    overwrite: bool = False
    """Replace --out if it exists."""
    tracking_uri: str | None = None
    """Store of a run that MLflow knows, as of `finetune`."""
    cluster: WorkersConfig = field(default_factory=WorkersConfig)

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range, or for another way to predict."""
        self.cluster.check()
        if self.cluster.workers:
            return
        for name, given in {"resume": self.resume, "format": self.format}.items():
            if given:
                raise UserError(f"--{name} is for a job of --workers N; give that too")
