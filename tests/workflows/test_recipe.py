"""What a fine-tuning does between its data and its loop."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from bertjax.checkpoints.run_file import RunFile
from bertjax.data import packing
from bertjax.data.packing import plan_packing
from bertjax.errors import UserError
from bertjax.models import dropout
from bertjax.training import optimizer
from bertjax.training.configs import OptimizerConfig
from bertjax.training.parallel import make_runner
from bertjax.training.snapshots import refuse_other_settings
from bertjax.training.vocabulary import Vocabulary
from bertjax.workflows import recipe
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.finetune import finetune
from bertjax.workflows.recipe import (
    balanced_weights,
    circumstances,
    describe_plan,
    load_start,
    narrow,
    settings,
)

IDS = np.array([[0, 1, 2, 3]], np.int32)


@pytest.fixture
def config(tiny_folder: Path, table_file: Path, tmp_path: Path) -> FinetuneConfig:
    return FinetuneConfig(
        data=str(table_file),
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        out=tmp_path / "run",
        epochs=1,
        batch_size=16,
        precision="float32",
    )


def logits(config: FinetuneConfig, key: jax.Array | None) -> np.ndarray:
    checkpoint = load_start(config, ("a", "b", "c"))
    with_own_head = replace(checkpoint, config=replace(checkpoint.config, classifier_dropout=0.5))
    small = narrow(with_own_head, Vocabulary.of([IDS[0]], checkpoint.config), config)
    return np.asarray(jax.jit(small.model.apply)(small.params, key, IDS).logits)


def test_without_dropout_a_key_changes_nothing(config):
    key = jax.random.key(1)
    plain = logits(config, None)
    np.testing.assert_array_equal(logits(replace(config, dropout=0.0), key), plain)
    own, half = logits(config, key), logits(replace(config, dropout=0.5), key)
    for one, other in ((own, plain), (half, plain), (half, own)):
        assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize(
    "changed",
    [
        {"dropout": 0.3},
        {"seed": 1},
        {"epochs": 2},
        {"optimizer": OptimizerConfig(learning_rate=1.0)},
        {"rematerialise": True},
    ],
)
def test_a_run_of_another_setting_is_not_gone_on_from(config, changed):
    def circumstances_of(config: FinetuneConfig) -> dict:
        run = RunFile(settings=settings(config), data={"fingerprint": ""})
        return circumstances(config, run)

    found, wanted = circumstances_of(config), circumstances_of(replace(config, **changed))
    with pytest.raises(UserError, match=f"other settings: {next(iter(changed))} was .* and is "):
        refuse_other_settings(found, wanted, "here")
    refuse_other_settings(found, found, "here")


@pytest.mark.parametrize(
    ("module", "version", "name"),
    [
        (dropout, "VERSION", "dropout's bits"),
        (optimizer, "VERSION", "optimizer's state"),
        (packing, "VERSION", "packing of rows"),
        (jax, "__version__", "jax"),
    ],
)
def test_a_run_of_another_version_is_not_gone_on_from(config, monkeypatch, module, version, name):
    run = RunFile(settings=settings(config), data={"fingerprint": ""})
    found = circumstances(config, run)
    monkeypatch.setattr(module, version, "other")
    wanted = circumstances(config, run)
    with pytest.raises(UserError, match=rf"^.* settings: {name} was \S+ and is 'other'; give.*$"):
        refuse_other_settings(found, wanted, "here")  # in one line
    older = {key: value for key, value in found.items() if key != name}  # before it was compared
    with pytest.raises(UserError, match=f"{name} was None and is"):
        refuse_other_settings(older, found, "here")


def test_the_written_model_keeps_the_dropout_of_its_checkpoint(config):
    result = finetune(replace(config, dropout=0.3), verbose=False)
    model = json.loads((result.folder / "config.json").read_text())
    assert model["hidden_dropout_prob"] == model["attention_probs_dropout_prob"] == 0.1
    run = json.loads((result.folder / "bertjax.json").read_text())
    assert run["settings"]["dropout"] == 0.3


class Boundaries:
    """Notes when a training begins, and when its first step has run, between what else happens."""

    def __init__(self, happened: list[str]):
        self.happened = happened

    def start(self, done: int, total: int) -> None:
        self.happened.append("begun")

    def step(self, tokens: int, seen) -> None:
        self.happened.append("stepped")

    def epoch(self, record: dict[str, float]) -> None: ...


@pytest.fixture
def happened() -> Iterator[list[str]]:
    """What JAX traces, lowers and compiles, in order."""
    found: list[str] = []

    def listen(event: str, duration_secs: float, fun_name: str = "", **_) -> None:
        if event.startswith("/jax/core/compile/"):
            found.append(f"{event} {fun_name}")

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def test_the_first_step_finds_its_program_compiled(config, happened):
    config = replace(config, head="random", test_size=0.0)
    finetune(config, verbose=False, listener=Boundaries(happened))
    begun, stepped = happened.index("begun"), happened.index("stepped")
    assert "/jax/core/compile/backend_compile_duration jit(step)" in happened[:begun]
    assert happened[begun + 1 : stepped] == []


def test_a_training_tells_its_plan_before_it_begins(config, capsys):
    """All texts have 8 tokens, so 15 of them take four rows of the 32 tokens that are the least."""
    finetune(replace(config, head="random", test_size=0.0))
    plan = (
        "60 texts in 4 steps of 4 x 32 tokens (94% filled, at most 16 texts a step and 4 a row), "
        "1 epoch, float32"
    )
    said = capsys.readouterr().err
    assert plan in said[: said.index("training: ")].splitlines()


def test_a_plan_is_told_with_its_epochs_and_its_precision(config):
    plan = plan_packing([8] * 60, batch_size=16, seed=0, epochs=3, hidden_size=64)
    told = describe_plan(plan, replace(config, epochs=3, precision="bfloat16"))
    assert told == f"{plan}, 3 epochs, bfloat16"


def test_balanced_weights_have_mean_1_over_the_rows():
    counts = np.array([1.0, 3.0, 0.5])
    weights = balanced_weights(counts)
    np.testing.assert_allclose(weights, [1.5, 0.5, 3.0])
    assert (weights * counts).sum() == counts.sum()
    assert balanced_weights(np.array([2, 2, 0])).tolist() == [2 / 3, 2 / 3, 0]


def test_a_training_tells_its_runner_how_large_its_activations_are(config, monkeypatch):
    told = []

    def watched(*args, largest_activation=None, **options):
        told.append(largest_activation)
        return make_runner(*args, largest_activation=largest_activation, **options)

    monkeypatch.setattr(recipe, "make_runner", watched)
    result = finetune(config, verbose=False)
    model = json.loads((result.folder / "config.json").read_text())
    numbers = told[0] / 4 / model["intermediate_size"]  # rows x tokens of a step
    assert numbers >= config.batch_size
    assert numbers == int(numbers)
