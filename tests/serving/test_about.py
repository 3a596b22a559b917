import json
import shutil

from bertjax.serving.about import describe, model_id
from bertjax.serving.predictor import Predictor


def test_the_id_changes_with_any_file_that_could_change_a_prediction(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "copy")
    before = model_id(folder)
    assert before == model_id(checkpoint.folder)  # not with the place
    assert len(before) == 12
    (folder / "notes.txt").write_text("a note")
    assert model_id(folder) == before
    ids = {before}
    names = (
        *("model.safetensors", "config.json", "bertjax.json", "tokenizer.json", "vocab.txt"),
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        "model.safetensors.index.json",
    )
    for name in names:
        path = folder / name
        content = path.read_bytes() if path.exists() else None
        path.write_bytes((content or b"") + b" ")
        ids.add(model_id(folder))
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        assert model_id(folder) == before
    assert len(ids) == 1 + len(names)


def test_a_tokenizer_that_keeps_capitals_is_another_model(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "copy")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "do_lower_case": not settings["do_lower_case"]}))
    text = ["The CAT"]
    one, other = (
        Predictor.load(found).probabilities(text) for found in (folder, checkpoint.folder)
    )
    assert abs(one - other).max() > 1e-4
    assert model_id(folder) != model_id(checkpoint.folder)


def test_a_description_has_the_name_and_no_place(checkpoint):
    about = describe(Predictor(checkpoint, 0.5, "windows"), "float32")
    assert about["name"] == checkpoint.folder.name
    assert (about["threshold"], about["long_texts"]) == (0.5, "windows")
    assert about["parameters"] == sum(
        leaf.size for values in checkpoint.params.values() for leaf in values.values()
    )
    assert "served with jax" in about["versions"]
