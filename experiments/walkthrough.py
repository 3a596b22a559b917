# %% [markdown]
# # From a CSV to a served model
#
# This notebook takes 525 short descriptions of machine-learning projects and ends with an HTTP
# server that sorts new ones into four classes. On the way it opens every box once: what the data
# holds, what the tokenizer makes of it, what the model is, what a training step does, what was
# recorded, how good the result is, and when it had better say nothing.
#
# It runs in less than five minutes on two cores, without a GPU. You need no more than Python to
# read it; if you know JAX, look for the cells that show that there is nothing but pure functions
# below.
#
# | | |
# |---|---|
# | the data | 1 ingestion, 2 cleaning, 3 exploration, 4 split, 5 tokens |
# | the model | 6 parameters and a forward pass, 7 a training step, 8 fine-tuning |
# | around it | 9 tracking, 10 tuning |
# | the result | 11 evaluation, 12 the threshold rule, 13 batch inference, 14 serving |
#
# ```sh
# pip install 'bertjax[all,notebook]' jupyterlab
# ```

# %% [markdown]
# Two calls come first, before anything starts JAX. On processors, glibc hands large buffers back to
# the system after each step, and the next step begins by asking for them again; `keep_memory` stops
# that. `prepare_process` does what the `bertjax` command does for itself: it keeps compiled
# programs in a folder, so that a second run of this notebook compiles nothing.
#
# All that is written below goes to a temporary folder.

# %%
import os
import tempfile
import warnings
from pathlib import Path

import bertjax
from bertjax.process import prepare_process

bertjax.keep_memory()
prepare_process()

folder = tempfile.TemporaryDirectory(prefix="walkthrough-", ignore_cleanup_errors=True)
os.chdir(folder.name)
warnings.filterwarnings("ignore", "IProgress not found")  # of bars that are not shown here

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image, display

pd.options.display.max_colwidth = 90
pd.options.display.precision = 3
plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## 1. Ingestion
#
# A table is a `.csv`, `.tsv`, `.jsonl` or `.parquet` file, a URL of one, a dataset of the Hugging
# Face Hub, or `sample`, the table that comes with the library. We write that one to a CSV, to begin
# where you would.

# %%
from bertjax.data.sources import read_frame, read_table

read_frame("sample").to_csv("projects.csv", index=False)
frame = read_frame("projects.csv")
display(frame.head())

# %% [markdown]
# `read_table` says which columns are the text and which is the class. Several text columns are
# joined by a space. A row without a label is dropped and counted; a text that is missing is empty.
# The fingerprint is a hash of the rows: it is kept with every model, so you can tell later whether
# two models have seen the same data.

# %%
TEXT, LABEL = ("title", "description"), "tag"
table = read_table("projects.csv", TEXT, LABEL)
labels = table.labels or []
print(f"{len(table.texts)} texts, {table.dropped} rows without a label")
print(f"fingerprint {table.fingerprint[:12]}")
print(f"\n{table.texts[3]}\n-> {labels[3]}")

# %% [markdown]
# ## 2. Cleaning
#
# Before BERT, text was lowercased and stripped of punctuation and stop words, since a bag of words
# gains nothing from them. BERT was pretrained on whole sentences, and "not", "before" and the order
# of words are part of what it reads. So cleaning is there (`FinetuneConfig(clean=True)`), and it is
# off: switch it on when it wins on your validation rows, not out of habit.

# %%
from bertjax.data.cleaning import clean_text

print(table.texts[3])
print(clean_text(table.texts[3]))

# %% [markdown]
# ## 3. Exploration
#
# Look before you train. What ruins a text classifier is seldom the model: it is a class with four
# rows, a text that carries two labels, or test rows that also stand in the training rows, so that
# the score measures memory. `explore` looks for all of these and writes one HTML file with its
# pictures; here we take the numbers and two of the pictures.

# %%
from bertjax.workflows.explore import explore
from bertjax.workflows.explore_configs import ExploreConfig

facts = explore(
    ExploreConfig(data="projects.csv", text=TEXT, label=LABEL, out=Path("reports/projects"))
)
duplicates, leakage, longest = facts["duplicates"], facts["leakage"], facts["lengths"]["tokens"]
print("rows by class:  ", facts["classes"])
print("empty texts:    ", facts["missing"]["texts"])
print("duplicates:     ", len(duplicates["exact"]), "exact,", len(duplicates["near"]), "near")
print("label conflicts:", len(facts["conflicts"]))
print("leaked:         ", len(leakage["exact"]) + len(leakage["near"]), "test rows")
print("tokens:         ", f"{longest['max']} in the longest text, {longest['limit']} are read")

# %% [markdown]
# Clean data: nothing repeats, nothing leaks, every text fits. But the largest class has three and a
# half times the rows of the smallest. So accuracy alone would flatter a model that neglects
# `mlops`, and we shall read F1 of each class.
#
# In the map each point is a text. Near ones are similar to the *pretrained* model, which knows
# nothing of our classes. Where colours already part, fine-tuning will be easy; where they mix, it
# has something to learn.

# %%
display(Image("reports/projects/figures/classes.png", width=560))
display(Image("reports/projects/figures/map.png", width=560))

# %% [markdown]
# ## 4. Split
#
# One row in five is put aside *now*, into a file of its own, and is not looked at before section
# 11. The split is stratified: each class keeps its share on both sides. Later the training sets
# some of its own rows aside too, as validation rows, to choose its best epoch by. Three roles,
# three sets of rows: to learn from, to choose by, to report.

# %%
from bertjax.data.splits import split_rows

rest, held_out = split_rows(labels, size=0.2, seed=0)
frame.iloc[rest].to_csv("train.csv", index=False)
frame.iloc[held_out].to_csv("test.csv", index=False)
parts = {"train.csv": frame.iloc[rest], "test.csv": frame.iloc[held_out]}
display(pd.DataFrame({name: part[LABEL].value_counts() for name, part in parts.items()}))

# %% [markdown]
# ## 5. Tokens
#
# BERT does not read words but pieces of words, from a vocabulary of 30,522. Frequent words are one
# piece, rare ones are several: `##` marks a piece that goes on with the word before. The tokenizer
# also puts `[CLS]` in front, at which the classifier will look, and `[SEP]` behind.
#
# `bertjax.load` without a name takes the default checkpoint, all-MiniLM-L6-v2: six layers, small
# enough for two cores.

# %%
from bertjax.data.labels import classes_of, encode_labels
from bertjax.data.tokens import tokenize

train_table = read_table("train.csv", TEXT, LABEL)
train_labels = train_table.labels or []
classes = classes_of(train_labels)
checkpoint = bertjax.load(task="text-classification", labels=classes)

ids = checkpoint.tokenizer("Re-identification from muzzle prints")["input_ids"]
print(checkpoint.tokenizer.convert_ids_to_tokens(ids))
print(ids)

# %% [markdown]
# XLA, the compiler below JAX, makes one program for each *shape*. Texts differ in length, so
# something has to give. The usual way is padding: fill each text up to the longest, and compute on
# nothing. Here texts are **packed**: several share a row, side by side, and `segment_ids` says
# which token belongs to whom. All steps have one shape, and nearly every slot holds a token.

# %%
from bertjax.data.batches import packed_batches
from bertjax.data.packing import plan_packing

pieces = tokenize(checkpoint.tokenizer, train_table.texts, max_length=256)
targets = encode_labels(train_labels, classes)
lengths = np.array([len(ids) for ids in pieces.ids])
plan = plan_packing(
    lengths, batch_size=32, seed=0, epochs=1, hidden_size=checkpoint.config.hidden_size
)
batches = list(packed_batches(pieces.ids, targets, plan, seed=0, epoch=0))

print(f"padded: {lengths.sum() / (len(lengths) * lengths.max()):.0%} of the slots hold a token")
print(f"packed: {plan}")
print({name: values.shape for name, values in batches[0].items()})

# %% [markdown]
# A batch, seen from above: each row is a row of the batch, each colour a text, and what is white is
# padding.

# %%
segments = batches[0]["segment_ids"]
figure, axes = plt.subplots(figsize=(8, 2.4), layout="constrained")
axes.imshow(np.where(segments, segments, np.nan), cmap="tab10", aspect="auto", vmin=1, vmax=10)
axes.set(xlabel="token", ylabel="row", title=f"{plan.batch_size} texts in {plan.rows} rows")
plt.show()

# %% [markdown]
# ## 6. The model
#
# Loading is strict. The report says of every tensor whether it was loaded, missing, unexpected or
# of another shape; anything but what you see here would have been an error, not a warning. The
# classifier is missing, as it has to be: a pretrained model does not know our classes, so its head
# begins with random numbers.

# %%
import jax

print(checkpoint.report)
print(f"{sum(leaf.size for leaf in jax.tree.leaves(checkpoint.params)):,} parameters")
for module, values in list(checkpoint.params.items())[-4:]:
    print(f"{module:36}", {name: leaf.shape for name, leaf in values.items()})

# %% [markdown]
# `checkpoint.model` is a Haiku transform, that is, a pair of pure functions: `init(key, inputs)`
# and `apply(params, key, inputs)`. There is no hidden state and no `train()` or `eval()` mode. The
# key is what dropout draws from: pass one, and units are dropped; pass `None`, and none are. So
# `jax.jit`, `jax.grad` and `jax.vmap` work on it as on any function.
#
# Untrained, the model should believe in each of four classes about equally: a quarter each.

# %%
params, apply = checkpoint.params, checkpoint.model.apply
batch = batches[0]
output = apply(
    params,
    None,
    batch["input_ids"],
    segment_ids=batch["segment_ids"],
    max_segments=plan.max_segments,
)
print("logits", output.logits.shape, "= rows, texts a row, classes")
print("probabilities of the first text", jax.nn.softmax(output.logits[0, 0]).round(2))

# %% [markdown]
# Does a text notice its neighbours in the row? It must not: attention stays inside a segment, and
# positions begin anew with each. So we compute a few texts of the batch alone, and compare.

# %%
for row, place in np.argwhere(batch["rows_of"] >= 0)[:4]:
    alone = pieces.ids[batch["rows_of"][row, place]][None]  # [1, T]
    logits = apply(params, None, alone).logits[0]
    np.testing.assert_allclose(output.logits[row, place], logits, atol=1e-5)
print("packed or alone: the same logits, to 0.00001")

# %% [markdown]
# ## 7. A training step, by hand
#
# Three values make a training, and each is an argument of the next:
#
# - a **loss** is a function `(params, key, batch) -> (sum, count)`. Sums, and not means, because
#   sums can be added over devices and over parts of a batch, and divided once at the end;
# - an **optimizer** is one of optax's kind: AdamW with a warm-up, here;
# - a **step** is a pure function `(state, batch) -> (state, metrics)`. `jax.jit` compiles it.
#
# Change the loss, and you have another method; no class has to be subclassed.
#
# A model that knows nothing has a loss of ln 4 = 1.39. Look where the line begins, and whether it
# falls within one epoch of 14 steps.

# %%
import jax.numpy as jnp

from bertjax.training.configs import OptimizerConfig
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.steps import init_state, make_train_step

loss = classification_loss(apply)
optimizer = make_optimizer(OptimizerConfig(learning_rate=2e-4), steps=len(batches))
step = jax.jit(make_train_step(loss, optimizer), donate_argnums=0)

# The step uses up the state that it is given; a copy leaves us the pretrained parameters.
state = init_state(jax.tree.map(jnp.copy, params), optimizer, seed=0)
by_hand = []
for batch in batches:
    state, metrics = step(state, batch)
    by_hand.append(float(metrics["loss"]))
print(f"{len(batches)} steps: loss {by_hand[0]:.2f} -> {by_hand[-1]:.2f}")

# %% [markdown]
# ## 8. Fine-tuning
#
# `finetune` runs the same step in a loop, and adds what one wants around it: it begins with a head
# that logistic regression has fitted to what the pretrained model makes of the texts, scores the
# validation rows after each epoch and keeps the best state, writes snapshots to go on from, trains
# only the rows of the vocabulary that occur, computes products in bfloat16 where the processor has
# it, and writes a run folder at the end, whole or not at all.
#
# A *listener* is told of every step and epoch. Ours keeps the losses for a picture. Without one you
# would see a progress bar.

# %%
from bertjax.workflows.configs import TrackingConfig

STORE = "sqlite:///mlflow.db"
TRACKING = TrackingConfig(tracking_uri=STORE, experiment="walkthrough")


class Losses:
    """Keeps the loss of each step, and prints the figures of each epoch."""

    def __init__(self):
        self.steps: list[float] = []

    def start(self, done, total):
        print(f"{total} steps")

    def step(self, tokens, seen):
        self.steps += [figures["loss"] for figures in seen]

    def epoch(self, record):
        print(", ".join(f"{name} {value:.3g}" for name, value in record.items()))


heard = Losses()
result = bertjax.finetune(
    bertjax.FinetuneConfig(
        data="train.csv",
        text=TEXT,
        label=LABEL,
        out=Path("runs/tags"),
        epochs=2,
        test_size=0.0,  # the held-out rows are in a file of their own
        validation_size=0.2,
        tracking=TRACKING,
    ),
    verbose=False,
    listener=heard,
)

# %%
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
axes.plot(range(1, len(by_hand) + 1), by_hand, color="0.6", label="by hand")
axes.plot(range(1, len(heard.steps) + 1), heard.steps, label="finetune")
axes.axhline(np.log(len(classes)), color="0.8", linestyle="--", label="ln 4: knows nothing")
axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# Our own loop began with a head of random numbers, and so at ln 4. `finetune` begins far below:
# what logistic regression can say is said before the first step, and the steps are for the rest.
#
# The run folder is a Hugging Face checkpoint, which transformers loads as it is. `bertjax.json`
# beside it holds what a checkpoint does not: the text columns, every setting, the fingerprint of
# the data, versions, and the *temperature*, of which section 11 tells.

# %%
import json

print(sorted(path.name for path in result.folder.iterdir()))
run = json.loads((result.folder / "bertjax.json").read_text(encoding="utf-8"))
print({name: run[name] for name in ("text", "label", "max_length", "ladder")})
print(f"best epoch {run['training']['best_epoch']}, temperature {run['temperature']:.2f}")

# %% [markdown]
# ## 9. Tracking
#
# The training has told MLflow of itself, in a file that needs no server: settings, the loss of
# every step, the scores of every epoch, the packages, and the run folder. A process beside the
# training did the writing, so that no step waits for a disk. `mlflow ui --backend-store-uri
# sqlite:///mlflow.db` shows it all in a browser; `bertjax runs` and `list_tracked` list it.

# %%
from bertjax.workflows.runs import RunsConfig, list_tracked


def runs_table(**options) -> pd.DataFrame:
    """The runs of the store, the best first."""
    metric = "validation_weighted_f1"
    config = RunsConfig(experiment="walkthrough", tracking_uri=STORE, sort=metric, **options)
    tracked = list_tracked(config)
    return pd.DataFrame(
        {
            "name": [one.name for one in tracked],
            "kind": [one.kind for one in tracked],
            "status": [one.status for one in tracked],
            "learning rate": [float(one.params.get("learning_rate", "nan")) for one in tracked],
            "validation F1": [one.metrics.get(metric) for one in tracked],
        }
    )


display(runs_table())

# %% [markdown]
# ## 10. Tuning
#
# Was 2e-4 a good learning rate? A search answers by trying. Ray Tune runs trials in processes of
# their own, beside each other if there are cores, and ASHA stops those that fall behind after their
# days of grace. Trials are compared on validation rows only; the test rows stay unseen.
#
# Two trials of two epochs, both of grace, are enough to see how it works, not to find anything. A
# real search is `bertjax tune train.csv --trials 30`, over more settings.

# %%
import contextlib
import io

from bertjax.workflows.tune_configs import TuneConfig

with contextlib.redirect_stderr(io.StringIO()):  # Ray's remarks, and a line a trial
    from bertjax.cluster.tune import tune

    search = tune(
        TuneConfig(
            data="train.csv",
            text=TEXT,
            label=LABEL,
            out=Path("runs/search"),
            trials=2,
            grace=2,
            test_size=0.0,
            space=(
                *("learning_rate=5e-5:5e-4:log", "epochs=2", "batch_size=32"),
                *("warmup=0.1", "weight_decay=0.01", "dropout=0.1"),
            ),
            tracking=TRACKING,
        )
    )
trials = pd.read_csv("runs/search/trials.csv")
display(trials[["trial", "status", "learning_rate", "epochs_run", "best_weighted_f1"]])

# %% [markdown]
# The folder of the search holds this table, a picture, the best trial's run folder `best/`, and its
# settings as a recipe: `bertjax finetune --config runs/search/best.json` trains it again. In MLflow
# the search is a run, and its trials are runs under it.

# %%
print(sorted(path.name for path in Path("runs/search").iterdir()))
display(runs_table(trials=True))

# %% [markdown]
# ## 11. Evaluation
#
# Now the held-out rows. `evaluate` scores them, and with `out` it writes a report beside: one HTML
# file, its numbers as JSON, its pictures as PNG.
#
# Read the table from the bottom up: the weighted average is what one would report; the macro
# average counts each class alike, so it falls when a rare class is neglected; and the lines above
# say which. Expect a weighted F1 of 0.8 to 0.9. With about a hundred rows, one row is a hundredth:
# the interval says how much of the accuracy is luck, and another seed of the split would give
# another number.

# %%
from bertjax.evaluation.scores import scores_table

scores = bertjax.evaluate(
    bertjax.EvaluateConfig(run="runs/tags", data="test.csv", out=Path("reports/tags"))
)
low, high = scores["accuracy_interval"]
print(scores_table(scores))
print(f"\naccuracy {scores['accuracy']:.3f}, 95 % interval {low:.3f} to {high:.3f}")
print(f"rows that the run was trained on: {scores['training']['trained_on']}")

# %% [markdown]
# Rows are true classes, columns predicted ones. Look for the strongest orange: that is what to
# collect more texts of.

# %%
display(Image("reports/tags/figures/confusion.png", width=560))

# %% [markdown]
# *Slices* are rows by themselves: short texts, long ones, those with words that stand in no other
# text, each class. An average can hide that a model fails on one of them. Where an interval holds
# the line of all rows, chance may be the whole story.

# %%
display(Image("reports/tags/figures/slices.png", width=560))

# %% [markdown]
# ### Can its probabilities be taken at their word?
#
# If a model says "90 %" a hundred times, it should be right ninety times. Models that were trained
# for long say too much, and some say too little. Dividing the logits by one number, the
# *temperature*, mends most of it (above 1 it lowers the probabilities, below 1 it raises them), and
# changes no prediction. `finetune` fitted it on the validation rows; here it is tried on rows that
# neither the training nor the temperature has seen. Log loss and the expected calibration error,
# the mean distance of the dots from the diagonal, are better when they are less; with a hundred
# rows the second one jumps.

# %%
calibration = scores["calibration"]
for name in ("expected_calibration_error", "log_loss"):
    before, after = calibration[f"uncalibrated_{name}"], calibration[name]
    print(f"{name.replace('_', ' ')}: {before:.3f} without, {after:.3f} with the temperature")
display(Image("reports/tags/figures/reliability.png", width=560))

# %% [markdown]
# ### Where is it wrong?
#
# The most useful table of all: its mistakes, the most confident first. Read them as a person. Some
# are the model's; in others you will side with the model, and the label is to be mended. For these
# the report has a list of its own, by cleanlab.

# %%
print(f"{len(scores['wrong'])} of {scores['support']} are wrong")
display(pd.DataFrame(scores["wrong"])[["text", "label", "predicted", "score"]].head(6))
print(f"{len(scores['label_issues']['issues'])} labels are in doubt")

# %% [markdown]
# ## 12. The threshold rule
#
# Calibrated probabilities have a use: the model may decline. Answer only where the most probable
# class is above a threshold, and hand the rest to a person. The curve shows the bargain: the fewer
# texts are answered, the more answers are right.
#
# A threshold is a choice, so it is made on the *validation* rows, the ones that `finetune` had put
# aside: the lowest at which nine in ten answers are right. Then we look what it does to the test
# rows. Two curves that part at the left say how little a few dozen rows can tell.

# %%
from bertjax.evaluation.thresholds import at_threshold, threshold_curve, threshold_for
from bertjax.workflows.prepare import read_labelled

predictor = bertjax.Predictor.load("runs/tags")
parted = read_labelled("train.csv", TEXT, LABEL, test_size=0.0, validation_size=0.2, seed=0)
validation_truth = encode_labels([parted.labels[i] for i in parted.validation], predictor.labels)
validation = predictor.probabilities([parted.table.texts[i] for i in parted.validation])  # [N, C]
curve = threshold_curve(validation_truth, validation)
wanted = threshold_for(curve, accuracy=0.9)
assert wanted is not None
threshold = np.floor(1000 * wanted) / 1000

test_table = read_table("test.csv", TEXT, LABEL)
truth = encode_labels(test_table.labels or [], predictor.labels)
probabilities = predictor.probabilities(test_table.texts)
on_test = at_threshold(truth, probabilities, threshold)
print(f"test rows: {scores['accuracy']:.0%} right if all are answered;")
print(f"{on_test['accuracy']:.0%} right of the {on_test['coverage']:.0%} above {threshold:.3f}")

# %%
chosen = at_threshold(validation_truth, validation, threshold)
test_curve = threshold_curve(truth, probabilities)
figure, axes = plt.subplots(figsize=(5.4, 3), layout="constrained")
axes.plot(curve.coverage, curve.accuracy, label="validation rows")
axes.plot(test_curve.coverage, test_curve.accuracy, color="0.6", label="test rows")
axes.plot(chosen["coverage"], chosen["accuracy"], "o", label=f"threshold {threshold:.3f}")
axes.set(xlabel="share of texts answered", ylabel="share of answers right")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 13. Batch inference
#
# A table in, the same table with predictions out. In the place of the folder stands a name that
# MLflow knows: the run of this experiment with the best validation F1, wherever its files lie. The
# table needs no label, so we leave it out. For tables of any size, `--workers N` does the same on
# a cluster.

# %%
frame.iloc[held_out].drop(columns=LABEL).to_csv("new.csv", index=False)
bertjax.predict(
    bertjax.PredictConfig(
        run="best:walkthrough:validation_weighted_f1",
        data="new.csv",
        out=Path("predictions.csv"),
        tracking_uri=STORE,
    )
)
predictions = pd.read_csv("predictions.csv")
print(list(predictions.columns))
display(predictions[["title", "prediction", "score"]].head())

# %% [markdown]
# ## 14. Serving
#
# `bertjax serve` is a process of its own, as it would be in production: it opens a port, compiles
# every shape that it will ever need, and then answers. No request waits for a compiler, and those
# that arrive together are computed together. Port 0 takes one that is free. We start it with our
# threshold, and read what it says until it is ready.

# %%
import re
import subprocess
import sys

server = subprocess.Popen(
    [
        *(sys.executable, "-m", "bertjax", "serve", "runs/tags", "--port", "0"),
        *("--threshold", str(threshold)),
    ],
    stdout=subprocess.DEVNULL,  # its log, a line of JSON a request
    stderr=subprocess.PIPE,
    text=True,
)
said = ""
for line in server.stderr or ():
    said += line
    if line.startswith("ready"):
        break
found = re.search(r"http://[\d.]+:\d+", said)
assert found, said
address = found[0]
print("ready")

# %% [markdown]
# A real request. The answer holds all probabilities, the most probable `label`, and `prediction`:
# the label, or where its score is below the threshold, `other` if there is such a class, else
# `uncertain`. The last text says next to nothing, and its score should be low.

# %%
from urllib.request import Request, urlopen


def ask(path: str, body: dict) -> dict:
    """POST JSON, get JSON."""
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(address + path, data, headers), timeout=60) as answer:
        return json.load(answer)


texts = [
    "Segmenting tumours in CT scans with a small U-Net",
    "Canary releases and automatic rollback for models behind a load balancer",
    "Something about computers, I forget what",
]
for text, answer in zip(texts, ask("/predict", {"texts": texts})["predictions"], strict=True):
    print(text)
    print(f"  prediction {answer['prediction']} (label {answer['label']}, {answer['score']:.2f})")

# %% [markdown]
# And why? `/explain` leaves out each word in turn, and says what that does to the probability of
# the label. Words with a large weight carried the decision.

# %%
words = ask("/explain", {"text": texts[1]})["words"]
figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
axes.barh([word["text"] for word in words], [word["weight"] for word in words])
axes.invert_yaxis()
axes.set(xlabel="what the probability loses without the word")
plt.show()

# %% [markdown]
# There is also a page for people at `/`, the interface at `/docs`, metrics for Prometheus at
# `/metrics`. On SIGTERM it takes nothing new, answers what waits, and ends with status 0.

# %%
server.terminate()
server.communicate(timeout=60)
print("status", server.returncode)

# %% [markdown]
# ## Where to go from here
#
# - **Your own table**: change `projects.csv`, `TEXT` and `LABEL`. On the command line it is
#   `bertjax explore`, `finetune`, `evaluate`, `predict`, `serve`, with the same settings as flags.
# - **Another model**: `checkpoint="bert-base-uncased"`, or a folder.
# - **Another method**: copy the loop of section 7, and change the loss.
# - **More machines**: `--workers 4` trains on four processes, to the same numbers as one.
