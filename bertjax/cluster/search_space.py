"""Which values a search may try: a text a setting, and what Ray Tune's engines make of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain

from bertjax.errors import UserError
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.flat_settings import convert, setting_types, with_settings
from bertjax.workflows.recipe_file import LEFT_OUT
from bertjax.workflows.tune_configs import TuneConfig

DEFAULT_SPACE = (
    "learning_rate=1e-5:1e-3:log",
    "batch_size=16,32,64",
    "warmup=0:0.2",
    "weight_decay=0:0.1",
    "dropout=0:0.3",
    "epochs=2,4,6",
)

# The same for all trials, else they could not be compared; these have flags of their own.
_COMMON = frozenset(
    {*("data", "text", "label", "checkpoint", "metric", "seed", "test_size", "validation_size")}
)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False  # each factor is as likely as another, not each difference

    def ends(self) -> tuple[float, ...]:
        return self.low, self.high

    def domain(self) -> Domain:
        if isinstance(self.low, int) and isinstance(self.high, int):
            whole = tune.lograndint if self.log else tune.randint
            return whole(self.low, self.high + 1)  # Ray leaves the upper end out
        sample = tune.loguniform if self.log else tune.uniform
        return sample(self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """One of some values; of a single one: a setting that is fixed."""

    values: tuple[Any, ...]

    def ends(self) -> tuple[Any, ...]:
        return self.values

    def domain(self) -> Domain:
        return tune.choice(list(self.values))


Space = dict[str, Range | Choice]


def parse_space(texts: Iterable[str], base: FinetuneConfig) -> Space:
    """The space of DEFAULT_SPACE and of changes to it.

    Raises:
        UserError: a text cannot be read, names a setting that is not known or that all trials must
            share, a value does not fit its setting, or nothing is left to search.
    """
    space: Space = {}
    for text in (*DEFAULT_SPACE, *texts):
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise UserError(f"--space {text}: give NAME=VALUES, as in batch_size=16,32")
        _check_name(name)
        space[name] = _parse(name, values)
        for value in space[name].ends():
            try:
                with_settings(base, {name: value}).check()
            except UserError as error:
                raise UserError(f"--space {text}: {error}") from error
    if not searched(space):
        raise UserError("--space fixes every setting: leave at least one to search")
    return space


def searched(space: Space) -> Space:
    """What differs from trial to trial."""
    return {name: values for name, values in space.items() if len(values.ends()) > 1}


def fixed(space: Space) -> dict[str, Any]:
    """What all trials share, by name."""
    return {name: values.ends()[0] for name, values in space.items() if len(values.ends()) == 1}


def most_epochs(space: Space) -> int:
    """Of any trial."""
    return max(int(end) for end in space["epochs"].ends())


def _check_name(name: str) -> None:
    known = [n for n in setting_types() if n not in LEFT_OUT | _COMMON]
    if name in _COMMON:
        flag = name.replace("_", "-")
        raise UserError(f"--space {name}: all trials share it; it is set by --{flag}")
    if name not in known:
        raise UserError(f"--space has no setting {name!r}; known are {', '.join(known)}")


def _parse(name: str, text: str) -> Range | Choice:
    if ":" not in text:
        values = tuple(convert(name, part.strip()) for part in text.split(","))
        return Choice(tuple(dict.fromkeys(values)))
    low, high, *rest = text.split(":")
    if rest not in ([], ["log"]):
        raise UserError(f"--space {name}={text}: give LOW:HIGH or LOW:HIGH:log")
    ends = convert(name, low), convert(name, high)
    if not all(type(end) in (int, float) and isfinite(end) for end in ends):  # True is an int
        raise UserError(f"--space {name}={text}: a range needs numbers; give a list, as in A,B,C")
    found = Range(*ends, log=bool(rest))
    if not found.low < found.high:
        raise UserError(f"--space {name}={text}: {low} is not below {high}")
    if found.log and found.low <= 0:
        raise UserError(f"--space {name}={text}: a range in factors begins above 0")
    return found


def make_searcher(config: TuneConfig, concurrent: int) -> Any:
    """The engine of Ray Tune that picks the settings of trials.

    Raises:
        ModuleNotFoundError: its package is not installed.
    """
    if config.search == "random":
        from ray.tune.search import BasicVariantGenerator

        return BasicVariantGenerator(max_concurrent=concurrent, random_state=config.seed)
    from ray.tune.search import ConcurrencyLimiter

    import_module(config.search)  # Ray's own complaint would be an AssertionError
    if config.search == "hyperopt":
        from ray.tune.search.hyperopt import HyperOptSearch

        # Of its 20 trials by chance a short search would never see the end.
        first = max(1, min(20, config.trials // 3))
        engine = HyperOptSearch(random_state_seed=config.seed, n_initial_points=first)
    else:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        engine = OptunaSearch(seed=config.seed)
    return ConcurrencyLimiter(engine, max_concurrent=concurrent)
