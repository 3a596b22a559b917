"""What `import bertjax` costs and offers."""

import subprocess
import sys

import bertjax

PROGRAM = """
import sys, logging
handlers = list(logging.root.handlers)
import bertjax
heavy = [m for m in ("jax", "haiku", "flax", "optax", "ray", "mlflow", "pandas", "transformers",
                     "sklearn", "torch") if m in sys.modules]
assert not heavy, heavy
assert logging.root.handlers == handlers
"""


def test_importing_starts_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_workflow_imports_mlflow():
    program = (
        "import sys, bertjax.cli, bertjax.workflows.finetune; assert 'mlflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    assert len(bertjax.__all__) <= 20
    assert {"load", "save", "Predictor", "finetune", "evaluate", "predict"} <= set(bertjax.__all__)
    for name in bertjax.__all__:
        assert getattr(bertjax, name) is not None
