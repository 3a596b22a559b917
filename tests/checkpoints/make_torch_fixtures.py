"""Write the `.bin` files in `fixtures/` with torch, which the tests themselves do without.

    pip install torch==2.13.0
    python tests/checkpoints/make_torch_fixtures.py

The entries of every tensor are given in `test_torch_files.py`.
"""

from collections import OrderedDict
from pathlib import Path

import torch

FIXTURES = Path(__file__).parent / "fixtures"


def tensors() -> OrderedDict[str, torch.Tensor]:
    """One tensor of each dtype and of each kind of view."""
    matrix = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return OrderedDict(
        {
            "float32": matrix,
            "float64": torch.tensor([1.5, -2.5], dtype=torch.float64),
            "float16": torch.tensor([[0.5, -0.25]], dtype=torch.float16),
            "bfloat16": torch.tensor([1.0, -3.0, 0.15625], dtype=torch.bfloat16),
            "int64": torch.arange(5).expand(1, -1),
            "int32": torch.tensor([7, -7], dtype=torch.int32),
            "uint8": torch.tensor([0, 255], dtype=torch.uint8),
            "bool": torch.tensor([True, False, True]),
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 4),
            "transposed": matrix.t(),
            "column": matrix[1:, 2],
            "shared": matrix,
            "expanded": torch.tensor([4.0]).expand(2, 3),
            "parameter": torch.nn.Parameter(torch.full((2, 2), -1.0)),
        }
    )


def main() -> None:
    FIXTURES.mkdir(exist_ok=True)
    torch.save(tensors(), FIXTURES / "tensors.bin")
    torch.save(tensors(), FIXTURES / "protocol4.bin", pickle_protocol=4)
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    torch.save(layers.state_dict(), FIXTURES / "module.bin")
    torch.save(layers, FIXTURES / "whole_module.bin")
    small = {"weight": torch.ones(2)}
    torch.save(small, FIXTURES / "legacy.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
