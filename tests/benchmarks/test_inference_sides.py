from benchmarks import inference_sides
from benchmarks.inference_sides import ENGINES, missing, sides


def test_ours_is_first_and_the_shorter_precision_before_the_longer() -> None:
    found = sides("texts", ENGINES, ("float32", "bfloat16", "int8"))
    assert [(side.name, side.precision) for side in found] == [
        ("bertjax", "bfloat16"),
        ("bertjax", "float32"),
        ("torch", "bfloat16"),
        ("torch", "float32"),
        ("torch, autocast", "bfloat16"),
        ("ONNX Runtime", "float32"),
        ("ONNX Runtime", "int8"),
        ("OpenVINO", "bfloat16"),
        ("OpenVINO", "float32"),
    ]
    assert {side.child for side in found} == {"classify_texts"}
    assert found[0].settings == {"engine": "bertjax"}


def test_some_take_part_in_the_forward_pass_alone() -> None:
    names = {side.name for side in sides("forward", ENGINES, ("float32",))}
    assert names - {side.name for side in sides("one-text", ENGINES, ("float32",))} == {
        "torch.compile",
        "KerasHub",
    }


def test_engines_without_their_packages_are_named(monkeypatch) -> None:
    monkeypatch.setattr(inference_sides, "find_spec", lambda name: name != "onnx" or None)
    assert missing(ENGINES) == ["ONNX Runtime"]
