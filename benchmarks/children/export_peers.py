"""Write the text classifier of a folder as ONNX Runtime and OpenVINO read it, into the folder."""

from pathlib import Path

import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
from transformers import AutoModelForSequenceClassification

from benchmarks.children.result import read_settings, write_result

NAMES = ("input_ids", "attention_mask")


def main() -> None:
    settings = read_settings()
    folder = Path(settings["folder"])
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    example = {name: torch.ones((2, 8), dtype=torch.int64) for name in NAMES}
    if "ONNX Runtime" in settings["engines"]:
        _write_onnx(model, example, folder)
    if "OpenVINO" in settings["engines"]:
        _write_openvino(model, example, folder)
    write_result({})


def _write_onnx(model, example: dict[str, torch.Tensor], folder: Path) -> None:
    """`model.onnx`, and with dynamically quantized products `int8.onnx`.

    By the older exporter: its graph is as fast as the newer one's (which took 9 times as long).
    Weights are quantized by column, which is as fast as whole and nearer to float32.
    """
    from onnxruntime.quantization import (  # pyright: ignore[reportMissingImports]
        QuantType,
        quantize_dynamic,
    )

    path = folder / "model.onnx"
    torch.onnx.export(
        model,
        (),
        path,
        kwargs=example,
        input_names=list(NAMES),
        output_names=["logits"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in NAMES} | {"logits": {0: "texts"}},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(path, folder / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)


def _write_openvino(model, example: dict[str, torch.Tensor], folder: Path) -> None:
    """`openvino.xml`, straight from torch: from ONNX it was up to 10 % slower."""
    import openvino  # pyright: ignore[reportMissingImports]

    converted = openvino.convert_model(model, example_input=example)
    openvino.save_model(converted, folder / "openvino.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
