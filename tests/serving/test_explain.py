"""Explanations over HTTP: what each word that is read does for the label."""

from dataclasses import replace

import pytest

from bertjax.serving.batcher import Batcher
from bertjax.serving.predictor import Predictor

TEXT = "the cat of the bank"


def test_an_explanation_weighs_each_word_by_leaving_it_out(server, predictor):
    answer = server.post("/explain", {"text": TEXT}).json()
    prediction = answer["prediction"]
    assert prediction["label"] == predictor([TEXT])[0]["label"]
    assert [TEXT[word["start"] : word["end"]] for word in answer["words"]] == TEXT.split()
    without = predictor(["the  of the bank"])[0]
    change = prediction["score"] - without["probabilities"][prediction["label"]]
    assert answer["words"][1]["text"] == "cat"
    assert answer["words"][1]["weight"] == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize("text", [".", "cat"])
def test_an_explanation_needs_no_more_than_one_text_a_request(text, start_server, predictor):
    with start_server(predictor, max_texts=1, max_queue=2) as server:
        answer = server.post("/explain", {"text": text})
        assert answer.status_code == 200
        assert [word["text"] for word in answer.json()["words"]] == text.split()


def test_what_cannot_be_explained_now_is_refused_before_any_work(
    start_server, predictor, error_of, monkeypatch
):
    def tokenize(self, texts):
        raise AssertionError("it was tokenized")

    with start_server(predictor, warm=False, max_texts=1, max_queue=2) as server:
        monkeypatch.setattr(Predictor, "tokenize", tokenize)
        early = server.post("/explain", {"text": TEXT})
        assert (early.status_code, error_of(early)["code"]) == (503, "not_ready")
        server.service._ready.set()
        monkeypatch.setattr(Batcher, "waiting", 2)
        full = server.post("/explain", {"text": TEXT})
        assert (full.status_code, error_of(full)["code"]) == (503, "overloaded")


def test_an_explanation_of_a_long_text_weighs_what_is_read_in_few_passes(
    run_folder, start_server, monkeypatch
):
    predictor = Predictor.load(run_folder)
    predictor.slots = 512
    predictor.__dict__["embedder"] = predictor.classifier  # to compile one of them only
    text = " ".join(["cat", "dog", "bank", "tax", "rain"] * 80)
    read = predictor.max_length - 2
    assert read > 64
    with start_server(predictor) as server:
        passes = []
        run = server.service._classifier._run
        monkeypatch.setattr(
            server.service._classifier,
            "_run",
            lambda pieces: (passes.extend(map(len, pieces)), run(pieces))[1],
        )
        answer = server.post("/explain", {"text": text}).json()
        assert answer["prediction"]["truncated"]
        assert answer["words_at_once"] == 2
        assert len(passes) == 1 + len(answer["words"]) == 1 + -(-read // 2)
        assert sorted(passes)[-2:] == [predictor.max_length - 2, predictor.max_length]
        words = " ".join(word["text"] for word in answer["words"]).split()
        assert words == text.split()[:read]
        for word in answer["words"]:
            assert text[word["start"] : word["end"]] == word["text"]
        score, label = answer["prediction"]["score"], answer["prediction"]["label"]
        without = predictor([" ".join(text.split()[2:read])])[0]
        change = score - without["probabilities"][label]
        assert answer["words"][0]["weight"] == pytest.approx(change, abs=1e-5)
        other = " ".join([*text.split()[:read], *["snow"] * 270])
        assert server.post("/explain", {"text": other}).json() == answer
        assert server.post("/explain", {"text": TEXT}).json()["words_at_once"] == 1


def test_an_explanation_of_a_text_in_windows_leaves_out_groups_of_words(start_server, checkpoint):
    predictor = Predictor(
        replace(checkpoint, run=replace(checkpoint.run, max_length=6)), long_texts="windows"
    )
    predictor.__dict__["embedder"] = predictor.classifier  # to compile one of them only
    with start_server(predictor, max_queue=32, max_texts=32) as server:
        text = " ".join(["cat", "dog", "bank", "tax"] * 5)
        answer = server.post("/explain", {"text": text})
        assert answer.status_code == 200
        assert answer.json()["prediction"]["windows"] > 4
        words = [word["text"] for word in answer.json()["words"]]
        assert " ".join(words) == text
        assert 1 < len(words) < 8
