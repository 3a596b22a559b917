"""How a child gets its settings and gives its result."""

import json
import sys
from pathlib import Path
from typing import Any


def read_settings() -> dict[str, Any]:
    return json.loads(sys.argv[1])


def write_result(result: dict[str, Any]) -> None:
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")
