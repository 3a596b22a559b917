import subprocess
import sys


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "bertjax", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: bertjax")
