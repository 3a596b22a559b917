"""The part of a sentence-transformers folder that says how tokens become one vector."""

import json
from pathlib import Path
from typing import Any, Literal

from bertjax.errors import UserError
from bertjax.models.pooling import SentencePooling

Mode = Literal["mean", "cls"]
_MODES: dict[str, Mode] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def read_pooling(folder: Path) -> SentencePooling | None:
    """What `modules.json` and its pooling module say; None if the folder has no such file.

    Raises:
        UserError: the folder has a module or a mode that would give other numbers here.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    mode, normalize = None, False
    for module in _read_json(path, list):
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            raise UserError(f"{path} lists {module!r}, expected a module with its type and path")
        kind = module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            mode = _pooling_mode(folder / str(module.get("path", "")) / "config.json")
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise UserError(
                f"{path} names the module {module['type']}, which is not supported: expected "
                "Transformer, Pooling and Normalize"
            )
    if mode is None:
        raise UserError(f"{path} names no Pooling module, so it defines no sentence embedding")
    return SentencePooling(mode, normalize)


def _pooling_mode(path: Path) -> Mode:
    config = _read_json(path, dict)
    if "pooling_mode" in config:  # newer folders name the mode
        chosen = [str(config["pooling_mode"])]
    else:
        chosen = [name for name, on in config.items() if name.startswith("pooling_mode_") and on]
    for name, mode in _MODES.items():
        if chosen in ([name], [mode]):
            return mode
    raise UserError(
        f"{path} asks for the pooling {', '.join(chosen) or 'none'}: only one of mean and cls is "
        "supported"
    )


def _read_json(path: Path, kind: type) -> Any:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}; copy it again") from None
    if not isinstance(values, kind):
        raise UserError(f"{path} holds a {type(values).__name__}, expected a {kind.__name__}")
    return values


def write_pooling(folder: Path, pooling: SentencePooling, width: int) -> None:
    """Write what `read_pooling` and sentence-transformers read."""
    names = ["Transformer", "Pooling", *(["Normalize"] if pooling.normalize else [])]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{name}",
            "type": f"sentence_transformers.models.{name}",
        }
        for i, name in enumerate(names)
    ]
    config = {"word_embedding_dimension": width}
    config |= {key: mode == pooling.mode for key, mode in _MODES.items()}
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    for name in names[1:]:
        (folder / f"{names.index(name)}_{name}").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(config, indent=2) + "\n", encoding="utf-8"
    )
