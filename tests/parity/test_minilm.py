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
    "It is raining again 🌧️, so the picnic that we had planned for weeks, down to the last "
    "sandwich, is off, and the children, who had been promised a swim, are not taking it well.",
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
    """Hidden states [7, 8, T, D] and pooler output: ours, torch's, and torch's in float64.

    `moved` is float64 with embeddings that are off by 1e-6, which is what float32 leaves there in
    either library.
    """
    model = AutoModel.from_pretrained(checkpoint.folder, attn_implementation="eager").eval()
    tensors = {name: torch.as_tensor(x).long() for name, x in sentences.items()}

    def theirs(model):
        with torch.no_grad():
            output = model(**tensors, output_hidden_states=True)
        return np.stack([x.numpy() for x in output.hidden_states]), output.pooler_output.numpy()

    def move(module, inputs, output):
        return output + 1e-6 * torch.sign(torch.randn_like(output))

    output = checkpoint.model.apply(checkpoint.params, None, **sentences, output_hidden_states=True)
    states = np.stack([np.asarray(x) for x in output.hidden_states])
    found = {
        "ours": (states, np.asarray(output.pooler_output), np.asarray(output.sentence_embedding)),
        "float32": theirs(model),
        "float64": theirs(model.double()),
    }
    torch.manual_seed(0)
    model.embeddings.register_forward_hook(move)
    return found | {"moved": theirs(model)}


def farthest(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Largest difference of two [7, 8, T, D] at the tokens [8, T] of `where`."""
    return float(np.abs(a - b).max(axis=(0, 3))[where].max())


def test_hidden_states_of_real_tokens(hidden, sentences):
    real = sentences["attention_mask"] > 0
    assert farthest(hidden["ours"][0], hidden["float32"][0], real) <= 2e-5
    assert farthest(hidden["ours"][0], hidden["float64"][0], real) <= 2e-5


def test_hidden_states_of_padding(hidden, sentences):
    """Padding is held to float64, since torch's own float32 is 1.6e-4 from it there.

    The states of padding are ill-conditioned in this model, the more the shorter the text: an
    error of 1e-6 in the embeddings, float32's own, moves the padding behind "No." by 1e-3, and no
    real token by more than 1e-5 (measured in float64). So 2e-5 is out of float32's reach there,
    and 1e-4 too behind a text of two words. Nothing reads these states: no real token sees padding
    and pooling leaves it out.
    """
    exact, padding = hidden["float64"][0], sentences["attention_mask"] == 0
    short = sentences["attention_mask"].sum(axis=1) == 4
    assert short.sum() == 1
    assert farthest(hidden["ours"][0], exact, padding & ~short[:, None]) <= 1e-4
    within_float32 = farthest(hidden["moved"][0], exact, padding & short[:, None])
    assert farthest(hidden["ours"][0], exact, padding & short[:, None]) <= within_float32
    assert farthest(hidden["moved"][0], exact, ~padding) <= 2e-5 < within_float32


def test_pooler_output(hidden):
    assert np.abs(hidden["ours"][1] - hidden["float32"][1]).max() <= 2e-5


@pytest.mark.parametrize("reference", ["float32", "float64"])
def test_sentence_embeddings_are_the_normalised_mean_of_real_tokens(hidden, sentences, reference):
    mask = sentences["attention_mask"][..., None]
    mean = (hidden[reference][0][-1] * mask).sum(axis=1) / mask.sum(axis=1)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    assert np.abs(hidden["ours"][2] - expected).max() <= 2e-5
