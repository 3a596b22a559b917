"""From a table to a run folder: what is written, and what a run that was cut off leaves."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from bertjax.checkpoints.folder import load
from bertjax.data.formats import write_file
from bertjax.data.labels import encode_labels
from bertjax.data.sources import read_frame
from bertjax.data.tokens import tokenize
from bertjax.errors import UserError
from bertjax.evaluation.calibration import fit_temperature
from bertjax.serving.predictor import Predictor
from bertjax.training.configs import OptimizerConfig
from bertjax.workflows import finetune as workflow
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.finetune import finetune
from bertjax.workflows.prepare import read_labelled
from bertjax.workflows.probe import fit_head
from bertjax.workflows.scoring import make_pass

DEADLINE = 120  # seconds; a bound on waiting for a process, not a claim on speed


@pytest.fixture
def config(table_file: Path, tiny_folder: Path, tmp_path: Path) -> FinetuneConfig:
    return FinetuneConfig(
        data=str(table_file),
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        out=tmp_path / "run",
        epochs=2,
        batch_size=16,
        precision="float32",
    )


def test_a_run_folder_is_a_hugging_face_checkpoint(run_folder):
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(run_folder)
    assert config.architectures == ["BertForSequenceClassification"]
    assert config.id2label == {0: "animals", 1: "money", 2: "weather"}
    tokenizer = AutoTokenizer.from_pretrained(run_folder)
    assert tokenizer("a cat")["input_ids"] == [101, 1037, 4937, 102]
    tensors = load_file(run_folder / "model.safetensors")
    assert tensors["classifier.weight"].shape == (3, 64)


def test_a_run_folder_tells_how_it_was_made(run_folder, table_file):
    run = json.loads((run_folder / "bertjax.json").read_text())
    assert run["text"] == ["title", "description"]
    assert run["label"] == "tag"
    assert run["settings"]["optimizer"]["learning_rate"] == 5e-3
    assert run["settings"]["seed"] == 0
    assert run["data"]["source"] == str(table_file)
    assert run["data"]["rows"] == 60
    assert run["data"]["classes"] == {"animals": 20, "money": 20, "weather": 20}
    sizes = [run["data"][f"{part}_rows"] for part in ("train", "validation", "test")]
    assert sizes == [36, 12, 12]
    assert len(run["data"]["fingerprint"]) == 64
    assert run["ladder"] == [8, 128]  # no text has more than 8 tokens, and the model reads 128
    assert run["training"]["ending"] == "finished"
    assert 0 <= run["training"]["input_wait_share"] < 1
    assert [record["epoch"] for record in run["training"]["history"]] == list(range(1, 9))
    assert {"jax", "dm-haiku", "python"} <= run["versions"].keys()
    assert run["scores"]["support"] == 12
    assert run["scores"]["accuracy"] > 0.9


def test_the_best_state_by_the_metric_is_the_one_that_is_kept(run_folder):
    training = json.loads((run_folder / "bertjax.json").read_text())["training"]
    scores = [record["weighted_f1"] for record in training["history"]]
    assert training["best_epoch"] == 1 + scores.index(max(scores))


def test_the_temperature_is_fitted_on_the_validation_rows(config):
    """Which train no parameter; one epoch of a random head leaves mistakes among them."""
    config = replace(config, epochs=1, validation_size=0.3, head="random")
    result = finetune(config, verbose=False)
    run = json.loads((result.folder / "bertjax.json").read_text())
    assert run["temperature"] != 1.0
    predictor = Predictor.load(result.folder)
    labelled = read_labelled(config.data, config.text, config.label, 0.2, 0.3, config.seed)
    texts = [labelled.table.texts[i] for i in labelled.validation]
    probabilities = predictor.probabilities(texts)
    logits = run["temperature"] * np.log(probabilities)
    targets = encode_labels([labelled.labels[i] for i in labelled.validation], labelled.classes)
    assert fit_temperature(targets, logits) == pytest.approx(run["temperature"], rel=1e-3)
    calibration = run["scores"]["calibration"]
    assert calibration["temperature"] == run["temperature"]
    assert calibration == result.scores["calibration"]


def test_without_validation_rows_probabilities_are_left_as_they_are(config):
    result = finetune(config, verbose=False)
    run = json.loads((result.folder / "bertjax.json").read_text())
    assert run["temperature"] == 1.0
    calibration = run["scores"]["calibration"]
    assert calibration["log_loss"] == calibration["uncalibrated_log_loss"] > 0


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_new_head_begins_as_logistic_regression(config, tiny_folder, class_weights, capsys):
    """With a learning rate of 0 it ends as that, and the encoder as it was."""
    still = OptimizerConfig(learning_rate=0.0)
    config = replace(config, epochs=1, optimizer=still, class_weights=class_weights)
    trained = load(finetune(config).folder)
    start = load(tiny_folder, "text-classification", trained.labels, allow=("classifier.*",))
    labelled = read_labelled(config.data, config.text, config.label, 0.2, 0.0, config.seed)
    texts = [labelled.table.texts[i] for i in labelled.train]
    targets = encode_labels([labelled.labels[i] for i in labelled.train], labelled.classes)
    ids = tokenize(start.tokenizer, texts, 128).ids
    forward = make_pass(start, [len(one) for one in ids])
    head = fit_head(start, forward, ids, targets, class_weights == "balanced")
    assert head is not None
    # Other rows beside each other: the last bits differ.
    np.testing.assert_allclose(trained.params["classifier"]["w"], head.w, atol=1e-3)
    np.testing.assert_allclose(trained.params["classifier"]["b"], head.b, atol=1e-3)
    assert np.abs(head.w).max() > 0.1
    query = "bert/layer_0/attention/query"
    np.testing.assert_array_equal(trained.params[query]["w"], start.params[query]["w"])
    assert "the new head begins as logistic regression, right on " in capsys.readouterr().err


class LiveArrays:
    """A listener that counts, after each step, the arrays of a shape that are in memory."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.counts: list[int] = []

    def count(self) -> int:
        return sum(x.shape == self.shape and not x.is_deleted() for x in jax.live_arrays())

    def start(self, done, total):
        pass

    def step(self, tokens, seen):
        gc.collect()
        self.counts.append(self.count())

    def epoch(self, record):
        pass


@pytest.mark.parametrize("validation_size", [0.0, 0.2])
def test_what_training_begins_with_is_not_kept_beside_it(config, tiny_folder, validation_size):
    encoder = load(tiny_folder, "feature-extraction")
    shapes = [x.shape for x in jax.tree.leaves(encoder.params)]
    shape = encoder.params["bert/layer_0/intermediate"]["w"].shape
    live, layers = LiveArrays(shape), shapes.count(shape)
    gc.collect()
    before = live.count()
    config = replace(config, epochs=1, validation_size=validation_size)
    finetune(config, verbose=False, listener=live)
    of_state = 3 * layers  # parameters and the two moments of Adam
    assert live.counts == [before + of_state] * len(live.counts)
    assert live.counts


def test_a_random_head_is_the_seeds(config, tiny_folder):
    still = OptimizerConfig(learning_rate=0.0)
    config = replace(config, epochs=1, optimizer=still, head="random", seed=3)
    trained = load(finetune(config, verbose=False).folder)
    start = load(
        tiny_folder, "text-classification", trained.labels, seed=3, allow=("classifier.*",)
    )
    np.testing.assert_array_equal(
        trained.params["classifier"]["w"], start.params["classifier"]["w"]
    )


def test_the_same_seed_gives_the_same_bits(config, tmp_path):
    first = finetune(config, verbose=False)
    second = finetune(replace(config, out=tmp_path / "again"), verbose=False)
    other = finetune(replace(config, out=tmp_path / "other", seed=1), verbose=False)
    weights = [(r.folder / "model.safetensors").read_bytes() for r in (first, second, other)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_uncertain_labels_train_to_uncertain_predictions(config, tmp_path, capsys):
    """The best answer to a text whose class has a probability of 0.6 is 0.6."""
    frame = read_frame(config.data)
    for name in ("animals", "money", "weather"):
        frame[f"tag:{name}"] = np.where(frame.tag == name, 0.6, 0.2)
    write_file(frame, tmp_path / "soft.csv")
    result = finetune(
        replace(
            config,
            data=str(tmp_path / "soft.csv"),
            soft_labels=True,
            head="random",  # a fitted one is sure of its classes, and takes longer to doubt them
            class_weights="balanced",
            epochs=8,
            batch_size=8,
            optimizer=OptimizerConfig(learning_rate=5e-3),
        )
    )
    probabilities = Predictor.load(result.folder).probabilities(["cat cat dog horse number 3"])
    np.testing.assert_allclose(probabilities[0], [0.6, 0.2, 0.2], atol=0.1)
    assert "scored against their most probable class" in capsys.readouterr().err
    assert result.scores["accuracy"] > 0.9
    run = json.loads((result.folder / "bertjax.json").read_text())
    assert run["settings"]["soft_labels"] is True
    assert run["data"]["classes"] == {"animals": 20, "money": 20, "weather": 20}


def test_probabilities_that_are_none_are_refused_before_training(config):
    with pytest.raises(UserError, match="has no columns tag:CLASS of the probabilities"):
        finetune(replace(config, soft_labels=True), verbose=False)
    assert not config.out.exists()


def test_one_device_equals_eight_that_split_and_recompute(config, tmp_path):
    """SGD-like steps would hide less; here the held-out probabilities are compared."""
    quiet = {"epochs": 1, "optimizer": OptimizerConfig(learning_rate=1e-3, eps=1e-3)}
    split = {"parallel": "mesh", "mesh": "fsdp=4", "rematerialise": True}
    probabilities = []
    for number, kind in enumerate(({}, split)):
        run = replace(config, out=tmp_path / str(number), **quiet, **kind)
        predictor = Predictor.load(finetune(run, verbose=False).folder)
        probabilities.append(predictor.probabilities(["cat", "rain snow", "bank tax euro"]))
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-5)


def test_a_mesh_of_other_devices_is_refused_before_anything_is_read(config):
    run = replace(config, data="no/such.csv", parallel="mesh", mesh="data=2,fsdp=2")
    with pytest.raises(UserError, match="--mesh needs 4 devices, found 8"):
        finetune(run, verbose=False)


def test_rows_without_a_label_are_counted_and_texts_that_are_cut_too(config, tmp_path, capsys):
    lines = Path(config.data).read_text().splitlines()
    lines += ["lost,no label here,", "long," + "word " * 500 + ",animals"] * 3
    data = tmp_path / "more.csv"
    data.write_text("\n".join(lines))
    result = finetune(replace(config, data=str(data), epochs=1, test_size=0.0))
    facts = json.loads((result.folder / "bertjax.json").read_text())["data"]
    assert facts["dropped_without_label"] == 3
    assert facts["train_truncated"] == 3
    shown = capsys.readouterr().err
    assert "3 rows have no label and were dropped" in shown
    assert "3 texts, 3 of them to train on, were cut to 128 tokens" in shown
    assert result.scores == {}


def test_held_out_texts_that_are_cut_are_counted_too(config, tmp_path, capsys):
    data = tmp_path / "long.csv"
    rows = [f"title {i},{'word ' * 500},{tag}" for i in range(10) for tag in ("one", "two")]
    data.write_text("\n".join(["title,description,tag", *rows]))
    finetune(replace(config, data=str(data), epochs=1, test_size=0.2, validation_size=0.2))
    assert "20 texts, 12 of them to train on, were cut to 128 tokens" in capsys.readouterr().err


def test_cleaning_is_remembered_by_the_run(config):
    result = finetune(replace(config, clean=True), verbose=False)
    predictor = Predictor.load(result.folder)
    # Each alone: beside each other in a row, the same text is not summed in the same order.
    clean, plain = (
        predictor.probabilities([text]) for text in ("the CAT!!! https://example.org", "cat")
    )
    np.testing.assert_array_equal(clean, plain)


def test_a_loss_that_is_no_number_stops_with_a_line_and_writes_nothing(config):
    wild = OptimizerConfig(learning_rate=1e30, clip_norm=0.0, warmup=0.0)
    with pytest.raises(UserError, match=r"lower --learning-rate.*nothing was written") as stopped:
        finetune(replace(config, optimizer=wild, epochs=4), verbose=False)
    assert "\n" not in str(stopped.value)
    assert not config.out.exists()


def test_a_failure_at_the_end_leaves_the_old_run_whole(config, monkeypatch):
    finetune(config, verbose=False)
    before = {p.name: p.read_bytes() for p in config.out.iterdir()}

    def fail(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(workflow, "write_checkpoint", fail)
    with pytest.raises(RuntimeError):
        finetune(replace(config, overwrite=True, seed=3), verbose=False)
    assert {p.name: p.read_bytes() for p in config.out.iterdir()} == before
    assert [p.name for p in config.out.parent.iterdir()] == [config.out.name]


def start(config: FinetuneConfig, out: Path, *flags: str) -> subprocess.Popen:
    """A real `bertjax finetune` of 8 epochs of 3 steps, with snapshots."""
    arguments = [
        *(sys.executable, "-m", "bertjax", "finetune", config.data, "--text", *config.text),
        *("--label", config.label, "--checkpoint", config.checkpoint, "--out", str(out)),
        *("--epochs", "8", "--batch-size", "12", "--precision", "float32"),
        *("--validation-size", "0.2", "--snapshot-every", "4", *flags),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    _, shown = process.communicate(timeout=DEADLINE)
    return process.returncode, shown


def wait_for_snapshot(out: Path, step: int) -> None:
    """Until a whole snapshot of this step or a later one lies beside `out`."""
    folder = out.with_name(f"{out.name}.snapshots")
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if any(p.name.isdigit() and int(p.name) >= step for p in folder.glob("*")):
            return
        time.sleep(0.01)
    raise AssertionError("no snapshot appeared")


def test_a_killed_run_resumes_to_the_same_bits(config, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert finish(start(config, undisturbed))[0] == 0
    process = start(config, killed)
    wait_for_snapshot(killed, 8)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert not killed.exists()

    assert finish(start(config, killed, "--resume"))[0] == 0
    names = ("model.safetensors", "config.json")
    for name in names:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()
    histories = [
        json.loads((folder / "bertjax.json").read_text())["training"]["history"]
        for folder in (killed, undisturbed)
    ]
    assert histories[0] == histories[1]
    assert not killed.with_name("killed.snapshots").exists()


def test_an_unfinished_run_is_neither_forgotten_nor_overwritten(config):
    config.out.with_name("run.snapshots").mkdir()
    with pytest.raises(UserError, match="pass --resume to go on with it, or --overwrite"):
        finetune(config, verbose=False)


def test_a_finished_run_has_nothing_to_resume(config, run_folder):
    with pytest.raises(UserError, match="is a finished run: there is nothing to resume"):
        finetune(replace(config, out=run_folder, resume=True), verbose=False)


def test_ctrl_c_keeps_the_best_state_and_says_where(config, tmp_path):
    out = tmp_path / "stopped"
    process = start(config, out)
    wait_for_snapshot(out, 8)
    process.send_signal(signal.SIGINT)
    status, shown = finish(process)
    assert status == 2
    message = shown.strip().splitlines()[-1]
    assert message.startswith("bertjax: stopped in epoch ")
    assert f"is in {out}; go on with --resume" in message
    assert "Traceback" not in shown
    run = json.loads((out / "bertjax.json").read_text())
    assert run["training"]["ending"] == "interrupted"
    assert Predictor.load(out).probabilities(["cat"]).shape == (1, 3)
    assert finish(start(config, out, "--resume"))[0] == 0
    run = json.loads((out / "bertjax.json").read_text())
    assert run["training"]["ending"] == "finished"
    assert len(run["training"]["history"]) == 8
