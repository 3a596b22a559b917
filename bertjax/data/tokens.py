"""Texts -> token ids, through the fast tokenizer that lies beside a checkpoint."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertjax.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")  # either makes a fast tokenizer

_BERT_CLASSES = ("BertTokenizer", "BertTokenizerFast")

_TEXTS_A_CALL = 4096  # bounds memory: an Encoding also keeps strings, offsets and what was cut


class Pieces(NamedTuple):
    """The token ids of N texts, each in one piece, or in several where it is long."""

    ids: list[np.ndarray]  # P arrays [T_p] int32, special tokens ([CLS] .. [SEP]) included
    text_of: np.ndarray  # [P] int, ascending: whose piece it is
    truncated: np.ndarray  # [N] bool, True where the text has more than its pieces


def joined(parts: Sequence[Pieces]) -> Pieces:
    """Those of several lists of texts as of one."""
    before = np.cumsum([0, *(len(part.truncated) for part in parts)])
    return Pieces(
        [ids for part in parts for ids in part.ids],
        np.concatenate([part.text_of + count for part, count in zip(parts, before, strict=False)]),
        np.concatenate([part.truncated for part in parts]),
    )


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerFast":
    """The fast tokenizer of a checkpoint folder; never touches the network.

    Raises:
      UserError: the folder holds no tokenizer, or one that cannot be read.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(
            f"{folder} holds no tokenizer: expected {' or '.join(TOKENIZER_FILES)}; copy the "
            "tokenizer files of the checkpoint there"
        )
    try:
        tokenizer = _tokenizer_class(folder).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers raises anything from KeyError to a Rust Exception
        reason = " ".join(str(error).split())
        raise UserError(f"the tokenizer in {folder} cannot be read: {reason}") from error
    if not tokenizer.is_fast:
        raise UserError(f"{folder} has no fast tokenizer; save one there as tokenizer.json")
    return tokenizer


def tokenize(
    tokenizer: "PreTrainedTokenizerFast",
    texts: Sequence[str],
    max_length: int,
    windows: bool = False,
) -> Pieces:
    """Token ids of any text, also "", in pieces of at most `max_length` tokens.

    Args:
      windows: whether a longer text is cut into pieces of which each begins with the last quarter
        of the one before; else the first piece stands for it.

    Raises:
      UserError: `max_length` leaves no room for a token between the special ones.
    """
    special = tokenizer.num_special_tokens_to_add()
    if max_length <= special:
        raise UserError(
            f"the maximum length must exceed the {special} special tokens, found {max_length}"
        )
    ids: list[np.ndarray] = []
    text_of: list[int] = []
    truncated: list[bool] = []
    overlap = (max_length - special) // 4 if windows else 0
    backend = _backend(tokenizer, max_length, overlap)
    for start in range(0, len(texts), _TEXTS_A_CALL):
        part = [_encodable(text) for text in texts[start : start + _TEXTS_A_CALL]]
        for text, encoding in enumerate(backend.encode_batch_fast(part), start):
            pieces = [encoding, *encoding.overflowing] if windows else [encoding]
            ids += [np.array(piece.ids, np.int32) for piece in pieces]
            text_of += [text] * len(pieces)
            truncated.append(bool(encoding.overflowing) and not windows)
    return Pieces(ids, np.array(text_of, np.int64), np.array(truncated, bool))


def token_spans(
    tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], max_length: int
) -> list[np.ndarray]:
    """Where the tokens of each text's first piece stand in it: N arrays [T_n, 2] of characters.

    The first one and the one after the last; of a special token, such as [CLS], both are 0.
    """
    spans: list[np.ndarray] = []
    backend = _backend(tokenizer, max_length, overlap=0)
    for start in range(0, len(texts), _TEXTS_A_CALL):
        part = [_encodable(text) for text in texts[start : start + _TEXTS_A_CALL]]
        encodings = backend.encode_batch(part)
        spans += [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in encodings]
    return spans


def _backend(tokenizer: "PreTrainedTokenizerFast", max_length: int, overlap: int) -> "Tokenizer":
    """What transformers calls for the ids, which take two thirds of its time without it.

    It is set up only where that changes something, since that waits for all threads which use it.
    """
    backend = tokenizer.backend_tokenizer
    cut = backend.truncation or {}
    if (cut.get("max_length"), cut.get("stride")) != (max_length, overlap):
        backend.enable_truncation(max_length, stride=overlap)
    if backend.padding is not None:
        backend.no_padding()
    return backend


def _encodable(text: str) -> str:
    """Lone surrogates, which JSON can carry and UTF-8 cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _tokenizer_class(folder: Path) -> Any:
    """BERT's own class where AutoTokenizer would choose it; else AutoTokenizer.

    Its import takes 0.3 s more, and 3 s where torch is installed, which it imports as well.
    """
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    with _no_torch_advisory():
        if values.get("tokenizer_class") in _BERT_CLASSES and "auto_map" not in values:
            from transformers import BertTokenizer

            return BertTokenizer
        from transformers import AutoTokenizer

        return AutoTokenizer


@contextmanager
def _no_torch_advisory() -> Iterator[None]:
    """Drops the advice to install PyTorch that transformers logs on its first import."""
    if "transformers" in sys.modules:
        yield
        return
    logger = logging.getLogger("transformers")

    def is_other(record: logging.LogRecord) -> bool:
        return "PyTorch was not found" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
