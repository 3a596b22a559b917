"""`Predictor` from texts to probabilities, beside transformers' tokenizer and torch's model."""

import numpy as np
import pytest
import torch
import transformers

from bertjax.checkpoints.folder import DEFAULT_CHECKPOINT
from bertjax.checkpoints.resolve import resolve
from bertjax.serving.predictor import Predictor

LENGTH = 24  # tokens that the model reads
LONG = "a cat that has read too much of the same thing " * 8
TEXTS = [
    "The cat sat on the mat.",
    "No.",
    "Die Straßenbahn fährt um 7:45 Uhr ab; naïve café owners don't mind — 東京も同じ。",
    "a\x00b \U0001f327️",
    LONG,
    "unbelievably",
]
ACTIVATIONS = {
    "single_label_classification": lambda logits: logits.softmax(-1),
    "multi_label_classification": torch.sigmoid,
    "regression": lambda logits: logits,
}


@pytest.fixture(params=ACTIVATIONS)
def folder(request, tmp_path, reference):
    """A classifier of each problem with the packaged tokenizer, as transformers writes it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve(DEFAULT_CHECKPOINT))
    names = ["x", "y", "z"] if request.param != "regression" else ["value"]
    model = reference(
        "text-classification",
        vocab_size=len(tokenizer),
        max_position_embeddings=LENGTH,
        problem_type=request.param,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def theirs(folder, texts: list[str]) -> np.ndarray:
    """[N, C], each text by itself."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()
    activation = ACTIVATIONS[model.config.problem_type]
    rows = []
    with torch.no_grad():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt")
            rows.append(activation(model(**encoded).logits)[0].numpy())
    return np.stack(rows)


def test_few_texts_get_the_probabilities_of_transformers(folder):
    predictor = Predictor.load(folder)
    expected = theirs(folder, TEXTS)
    found = predictor.predict(TEXTS)
    assert found.truncated.tolist() == [False, False, True, False, True, False]
    assert np.abs(found.probabilities - expected).max() <= 2e-5
    alone = np.concatenate([predictor.probabilities([text]) for text in TEXTS])
    assert np.abs(alone - expected).max() <= 2e-5
    labels = [predictor.labels[i] for i in expected.argmax(axis=1)]
    assert [prediction["label"] for prediction in predictor(TEXTS)] == labels


def test_many_texts_that_share_rows_get_them_too(folder, monkeypatch):
    monkeypatch.setattr("bertjax.serving.predictor.SLOTS", 64)  # already many
    texts = [" ".join([text] * (1 + i % 2)) for i in range(4) for text in TEXTS]
    predictor = Predictor.load(folder)
    predictor.slots = 64
    bulk, shared = predictor._bulk, []

    def seen(*inputs):
        shared.append(max(len(set(row[row > 0])) for row in inputs[2]))
        return bulk(*inputs)

    predictor._bulk = seen
    found = predictor.predict(texts)
    assert max(shared) > 1  # texts of a row
    assert np.abs(found.probabilities - theirs(folder, texts)).max() <= 2e-5
