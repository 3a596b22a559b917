import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "bertjax", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: bertjax")


def test_ctrl_c_while_it_imports_is_told_in_a_line(tmp_path):
    interrupting = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "tyro.py").write_text(interrupting)  # in the place of what the command imports
    found = subprocess.run(
        [sys.executable, "-m", "bertjax", "--help"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 128 + signal.SIGINT
    assert (found.stdout, found.stderr) == ("", "bertjax: interrupted\n")
