"""The packaged all-MiniLM-L6-v2 on real sentences, against transformers in float32 and float64."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

from bertjax.checkpoints.folder import DEFAULT_CHECKPOINT, load

SENTENCES = [
    "The cat sat on the mat.",
    "Attention is all you need, or so it was said in 2017.",
    "No.",
    "Fine-tuning a pretrained encoder on a few hundred labelled rows takes less than a minute.",
    "Die Straßenbahn fährt um 7:45 Uhr ab; naïve café owners don't mind — 東京も同じ。",
    "SELECT name, COUNT(*) FROM users WHERE age >= 21 GROUP BY name HAVING COUNT(*) > 1;",
    "It is raining again 🌧️, so the picnic that we had planned for weeks, down to the last sandwich, "
    "is off, and the children, who had been promised a swim, are not taking it well at all.",
    "buy cheap watches online best price best price best price",
]


@pytest.fixture(scope="module")
def checkpoint():
    return load(DEFAULT_CHECKPOINT, task="feature-extraction")


@pytest.fixture(scope="module")
def sentences(checkpoint):
    """Ids, mask and token types [8, T], padded."""
    encoded = checkpoint.tokenizer(SENTENCES, padding=True, return_tensors="np")
    return {name: encoded[name].astype(np.int32) for name in encoded}


@pytest.fixture(scope="module")
def hidden(checkpoint, sentences):
    """Hidden states [7, 8, T, D] and pooler output, of both libraries and in float64."""
    model = AutoModel.from_pretrained(checkpoint.folder, attn_implementation="eager").eval()
    tensors = {name: torch.as_tensor(x).long() for name, x in sentences.items()}

    def theirs(model):
        with torch.no_grad():
            output = model(**tensors, output_hidden_states=True)
        return np.stack([x.numpy() for x in output.hidden_states]), output.pooler_output.numpy()

    output = checkpoint.model.apply(checkpoint.params, None, **sentences, output_hidden_states=True)
    ours = np.stack([np.asarray(x) for x in output.hidden_states]), np.asarray(output.pooler_output)
    return {
        "ours": (*ours, np.asarray(output.sentence_embedding)),
        "float32": theirs(model),
        "float64": theirs(model.double()),
    }


def farthest(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Largest difference of two [7, 8, T, D] at the tokens [8, T] of `where`."""
    return float(np.abs(a - b).max(axis=(0, 3))[where].max())


def test_hidden_states_of_real_tokens(hidden, sentences):
    real = sentences["attention_mask"] > 0
    assert farthest(hidden["ours"][0], hidden["float32"][0], real) <= 2e-5
    assert farthest(hidden["ours"][0], hidden["float64"][0], real) <= 2e-5


def test_hidden_states_of_padding(hidden, sentences):
    """Padding is held to float64, and not to torch's float32, which is further from it than 2e-5.

    What a padding token attends to is close to uniform and its normalisations are ill-conditioned
    in this model, so float32 itself is 5e-5 (here) to 2e-4 (torch) from float64 there. Nothing
    reads these states: no real token sees padding, and pooling leaves it out.
    """
    padding = sentences["attention_mask"] == 0
    assert padding.sum() > 100
    ours = farthest(hidden["ours"][0], hidden["float64"][0], padding)
    theirs = farthest(hidden["float32"][0], hidden["float64"][0], padding)
    assert ours <= 1e-4
    assert ours <= max(theirs, 2e-5)  # no worse than the reference is itself


def test_pooler_output(hidden):
    assert np.abs(hidden["ours"][1] - hidden["float32"][1]).max() <= 2e-5


@pytest.mark.parametrize("reference", ["float32", "float64"])
def test_sentence_embeddings_are_the_normalised_mean_of_real_tokens(hidden, sentences, reference):
    mask = sentences["attention_mask"][..., None]
    mean = (hidden[reference][0][-1] * mask).sum(axis=1) / mask.sum(axis=1)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    assert np.abs(hidden["ours"][2] - expected).max() <= 2e-5
