"""The settings of a search over settings; light to import."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
from bertjax.errors import UserError
from bertjax.workflows.configs import TrackingConfig

Search = Literal["random", "hyperopt", "optuna"]


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Search for the settings with which a fine-tuning scores best, in trials on Ray."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    out: Path
    """The folder to write: trials.csv, search.png, the recipe best.json, the run folder best/."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text; several are joined by a space."""
    label: str = "label"
    """Column that holds the class."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """What to start from: a folder, a name on the Hub, or a packaged model."""
    trials: int = 20
    """Fine-tunings, each with settings of its own."""
    concurrent: int = 0
    """Trials at once; 0: as many as the cluster has room for."""
    search: Search = "random"
    """What picks the settings: chance, or what a model of the trials so far expects most of."""
    space: tuple[str, ...] = ()
    """Settings of `finetune` to search, as NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C, or to
    fix, as NAME=A. They change learning_rate=1e-5:1e-3:log batch_size=16,32,64 warmup=0:0.2
    weight_decay=0:0.1 dropout=0:0.3 epochs=2,4,6."""
    metric: Literal["weighted_f1", "macro_f1", "accuracy", "loss"] = "weighted_f1"
    """Of the validation rows, in a trial's best epoch: decides which trial is best."""
    grace: int = 1
    """Epochs that each trial gets before ASHA stops those that do worse than others did."""
    validation_size: float = 0.2
    """Share of the rows by which trials are compared."""
    test_size: float = 0.2
    """Share of the rows that no trial is chosen by, for the scores of the best; 0: none."""
    seed: int = 0
    """Of the search, and of every trial."""
    trial_cores: int = 1
    """Cores of each trial."""
    trial_gpus: float = 0.0
    """GPUs of each trial; 0.5: two trials share one."""
    ray_address: str | None = None
    """Of a running Ray cluster, as in 10.0.0.1:6379; by default one is started here, and ended."""
    resume: bool = False
    """Go on with a search that was cut off."""
    overwrite: bool = False
    """Replace the folder of an earlier search."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range; the space is checked elsewhere."""
        self.tracking.check()
        for name, least in (("trials", 1), ("concurrent", 0), ("grace", 1), ("trial_cores", 1)):
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}, but must be at least {least}")
        if not 0 < self.validation_size < 1:
            raise UserError(
                f"--validation-size is {self.validation_size}, but must be between 0 and 1: trials "
                "are compared by those rows"
            )
        gpus = self.trial_gpus
        if not (gpus >= 0 and (gpus <= 1 or gpus == int(gpus))):
            raise UserError(f"--trial-gpus is {gpus}, but must be a share of one or a whole number")
