"""Write `golden/bert.safetensors`, what transformers computes of tiny random BERTs, with torch.

    pip install torch==2.13.0 transformers==5.23.0 safetensors
    python tests/models/make_golden.py

One encoder's weights serve every head and every activation. The file holds, in float32:
    weights/NAME            under transformers' names; decoder.* is that of the untied heads
    weights/TASK/NAME       of a head whose name stands for another shape in another head
    ACTIVATION/weights/NAME that an activation owns
    inputs/NAME             [3, 9] ids, mask (padding behind in the second row, in front in the
                            third) and token types; for multiple choice one row of three choices
    ACTIVATION/OUTPUT       hidden_states.I, attentions.I, pooler_output: the same under each head
    ACTIVATION/TASK/OUTPUT  what the head computes; TASK:untied for a decoder of its own
and, as metadata, `config` and the library's versions.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers.activations import ACT2FN

TARGET = Path(__file__).parent / "golden" / "bert.safetensors"
CONFIG = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-7,
    "id2label": {"0": "a", "1": "b", "2": "c"},
}
HEADS = {
    "feature-extraction": transformers.BertModel,
    "fill-mask": transformers.BertForMaskedLM,
    "next-sentence-prediction": transformers.BertForNextSentencePrediction,
    "pretraining": transformers.BertForPreTraining,
    "text-classification": transformers.BertForSequenceClassification,
    "token-classification": transformers.BertForTokenClassification,
    "question-answering": transformers.BertForQuestionAnswering,
    "multiple-choice": transformers.BertForMultipleChoice,
}
UNTIED = ("fill-mask", "pretraining")  # heads with a decoder
OWN = ("multiple-choice",)  # heads whose classifier has another shape

Weights = dict[str, torch.Tensor]


def inputs() -> Weights:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (3, 9), generator=generator)
    mask = torch.ones((3, 9), dtype=torch.int64)
    mask[1, 5:], mask[2, :3] = 0, 0
    types = torch.randint(0, 3, (3, 9), generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}


def random_weight(name: str, shape: torch.Size) -> torch.Tensor:
    """By the name alone, so that each head and activation gets the same.

    Larger than transformers' 0.02: activations leave their linear range, and a bias counts.
    """
    generator = torch.Generator().manual_seed(sum(map(ord, name)) * 1000 + len(name))
    scale = 0.5 if len(shape) < 2 else 0.35
    values = torch.randn(shape, generator=generator) * scale
    return values + 1.0 if name.endswith("LayerNorm.weight") else values


def config_of(task: str) -> dict:
    """Question answering has two scores a token, which transformers takes from the labels."""
    return {k: v for k, v in CONFIG.items() if k != "id2label" or task != "question-answering"}


def make_model(task: str, activation: str, tied: bool) -> torch.nn.Module:
    config = transformers.BertConfig(
        **config_of(task),
        hidden_act=activation,
        tie_word_embeddings=tied,
        attn_implementation="eager",
    )
    model = HEADS[task](config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            bare = task == "feature-extraction"
            values = random_weight(f"bert.{name}" if bare else name, weight.shape)
            # Those of an activation stay near where they start.
            weight.copy_(weight + 0.2 * values if "act_fn" in name else values)
    return model


def stored_weights(model: torch.nn.Module, task: str, activation: str) -> Iterator:
    """Where in the file each tensor of a model stands."""
    for name, weight in model.state_dict().items():
        canonical = f"bert.{name}" if task == "feature-extraction" else name
        if "act_fn" in name:
            yield f"{activation}/weights/{canonical}", weight
        elif task in OWN and name.startswith("classifier"):
            yield f"weights/{task}/{canonical}", weight
        else:
            yield f"weights/{canonical}", weight


def stored_outputs(model: torch.nn.Module, task: str, tied: bool) -> Iterator:
    """Where below its activation each output of a model stands."""
    batch = inputs()
    if task == "multiple-choice":
        batch = {name: x[None] for name, x in batch.items()}
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True, output_attentions=True)
    for name, value in output.items():
        if isinstance(value, tuple):
            yield from ((f"{name}.{i}", x) for i, x in enumerate(value))
        elif name == "pooler_output":
            yield name, value
        elif name != "last_hidden_state":  # which is the last of hidden_states
            yield f"{task}{'' if tied else ':untied'}/{name}", value


def add(tensors: dict[str, np.ndarray], name: str, value: torch.Tensor) -> None:
    """Put in a tensor; one that is there already must be the same."""
    array = value.detach().numpy().copy()
    if name in tensors:
        np.testing.assert_allclose(array, tensors[name], atol=1e-6, err_msg=name)
    else:
        tensors[name] = array


def main() -> None:
    tensors: dict[str, np.ndarray] = {}
    for name, value in inputs().items():
        add(tensors, f"inputs/{name}", value.int())
    for activation in ACT2FN:
        for task in HEADS:
            for tied in (True, False) if task in UNTIED else (True,):
                model = make_model(task, activation, tied)
                for name, value in stored_weights(model, task, activation):
                    if tied and "predictions.decoder" in name:
                        continue  # the word embeddings, and predictions.bias
                    add(tensors, name, value)
                for name, value in stored_outputs(model, task, tied):
                    add(tensors, f"{activation}/{name}", value)
    metadata = {
        "config": json.dumps(CONFIG),
        "activations": json.dumps(sorted(ACT2FN)),
        "versions": f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    TARGET.parent.mkdir(exist_ok=True)
    save_file(tensors, TARGET, metadata)
    print(f"{TARGET}: {len(tensors)} tensors, {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
