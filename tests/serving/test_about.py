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
    for name in ("model.safetensors", "config.json", "tokenizer.json", "bertjax.json"):
        path = folder / name
        content = path.read_bytes() if path.exists() else b""
        path.write_bytes(content + b" ")
        ids.add(model_id(folder))
        path.write_bytes(content)
    assert len(ids) == 5


def test_a_description_has_the_name_and_no_place(checkpoint):
    about = describe(Predictor(checkpoint, 0.5, "windows"), "float32")
    assert about["name"] == checkpoint.folder.name
    assert (about["threshold"], about["long_texts"]) == (0.5, "windows")
    assert about["parameters"] == sum(
        leaf.size for values in checkpoint.params.values() for leaf in values.values()
    )
    assert "served with jax" in about["versions"]
