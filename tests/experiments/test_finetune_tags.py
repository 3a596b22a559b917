"""The recipe runs, on the sample and with every flag of the command."""

import json

from experiments.finetune_tags import RECIPE, main


def test_two_steps_of_the_recipe(tiny_folder, tmp_path, capsys):
    out = tmp_path / "tags"
    arguments = ["--checkpoint", str(tiny_folder), "--out", str(out)]
    assert main([*arguments, "--epochs", "1", "--batch-size", "256"]) == 0
    run = json.loads((out / "bertjax.json").read_text(encoding="utf-8"))
    assert run["data"]["source"] == "sample"
    assert run["data"]["rows"] == 525
    assert run["training"]["steps"] == 2
    assert run["settings"]["text"] == list(RECIPE.text)
    assert "weighted average" in capsys.readouterr().out
