from dataclasses import replace

import pytest

from benchmarks import training
from benchmarks.processes import Child


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--shapes", "base"], "'base' is no shape: write MODEL-TEXTSxTOKENS"),
        (["--shapes", "tiny-2x1024"], "'tiny-2x1024' is no shape: write 1 text or more"),
        (["--shapes"], "there is nothing to measure: name shapes"),
        (["--lengths", "half", "--shapes", "tiny-4x1"], "--lengths half needs rows of 2 tokens"),
    ],
)
def test_a_mistake_is_one_line(arguments, expected, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"benchmarks.training: {expected}")
    assert shown.count("\n") == 1


def test_a_precision_that_is_none_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        training.main(["--precisions", "float16"])
    assert exit.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_texts_of_any_length_are_measured_packed_and_padded() -> None:
    config = training.TrainingConfig(lengths="half", peers=("torch", "torch.compile"))
    sides = training.sides_of("bfloat16", config)
    assert [side.name for side in sides] == ["bertjax", "bertjax, padded", "torch", "torch.compile"]
    packed = training.sides_of("bfloat16", replace(config, padded=False))
    assert [side.name for side in packed] == ["bertjax", "torch", "torch.compile"]
    assert [side.settings.get("packed") for side in sides] == [True, False, None, None]
    assert [side.settings.get("compile") for side in sides] == [None, None, False, True]
    full = training.sides_of("float32", training.TrainingConfig())
    assert [(side.name, "packed" in side.settings) for side in full] == [
        ("bertjax", False),
        ("torch", False),
    ]


def test_every_setting_has_a_chart_of_its_own() -> None:
    name, config = training.chart_name, training.TrainingConfig
    assert name(config(), on_processor=True) == "training-default"
    assert name(config(memory="kept", quick=True), on_processor=True) == "training-kept-quick"
    half = config(memory="huge-pages", lengths="half")
    assert name(half, on_processor=False) == "training-huge-pages-half-gpu"


def test_the_first_call_is_told_by_its_parts() -> None:
    stages = ({"trace_s": trace, "compile_s": 4.0} for trace in (1.0, 2.0, 1.5))
    ours = [{"who": "bertjax", "precision": "float32", **stage} for stage in stages]
    records = [*ours, {"who": "torch", "precision": "float32"}]
    assert training.first_call(records) == (
        "the first call of bertjax: tracing 1.5 s, compiling 4.0 s"
    )


@pytest.mark.parametrize(
    ("hardware", "expected"), [("bfloat16", ("bfloat16", "float32")), ("float32", ("float32",))]
)
def test_bfloat16_is_measured_where_the_hardware_multiplies_it(
    hardware: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child({"precision": hardware}, 1.0, 1)
    monkeypatch.setattr(training, "run_child", lambda *_: child)
    assert training._precisions() == expected
