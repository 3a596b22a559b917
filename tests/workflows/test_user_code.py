import sys

import pytest

from bertjax.errors import UserError
from bertjax.workflows.user_code import callables, load_user_code


def loaded(tmp_path, source: str | bytes):
    path = tmp_path / "rules.py"
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return load_user_code(path, "rules")


def message(tmp_path, source: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, source)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(tmp_path / "rules.py"), "FILE")


def test_the_file_is_run_and_may_import_its_neighbours_and_nothing_stays(tmp_path):
    (tmp_path / "words_of_mine.py").write_text("WORDS = ['gpu']\n")
    paths = list(sys.path)
    module = loaded(tmp_path, "from words_of_mine import WORDS\nmost = len(WORDS)\n")
    assert module.most == 1
    assert sys.path == paths
    assert not (tmp_path / "__pycache__" / "rules.cpython-311.pyc").exists()
    assert not list(tmp_path.glob("__pycache__/rules*"))


def test_a_source_encoding_is_honoured(tmp_path):
    source = "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1")
    assert loaded(tmp_path, source).name == "é"


def test_dataclasses_find_the_types_of_the_file(tmp_path):
    source = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Word:\n"
        "    text: str\n"
        "    others: list[Word]\n"
    )
    assert loaded(tmp_path, source).Word("a", []).text == "a"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\ndef rule(:\n", "FILE, line 2 is not Python: invalid syntax"),
        (b"x = '\xff'\n", "FILE, line 1 is not Python: (unicode error) 'utf-8' codec can't decode"),
        (b"x = 1\0\n", "FILE is not Python: source code string cannot contain null bytes"),
        ("x = 1\n\ny = x / 0\n", "FILE, line 3, failed: ZeroDivisionError: division by zero"),
        ("raise KeyError\n", "FILE, line 1, failed: KeyError"),
        ("import sys\nsys.exit(3)\n", "FILE, line 2, failed: SystemExit: 3"),
        ("def f():\n  raise ValueError('a\\nb')\nf()\n", "FILE, line 2, failed: ValueError: a b"),
        ("import no_such_package.part\n", "FILE, line 1, imports no_such_package, which is "
         "missing: pip install no_such_package"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_line(tmp_path, source, says):
    assert message(tmp_path, source).startswith(says)


def test_a_file_that_is_missing_or_a_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the slices in .*no\.py: No such file"):
        load_user_code(tmp_path / "no.py", "slices")
    with pytest.raises(UserError, match="Is a directory; give a Python file"):
        load_user_code(tmp_path, "rules")


def test_what_snorkel_needs_is_named_as_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "snorkel", None)
    assert message(tmp_path, "import snorkel\n").endswith("pip install 'bertjax[labels]'")


def test_callables_are_functions_by_prefix_and_objects_with_a_name(tmp_path):
    module = loaded(
        tmp_path,
        "class Function:\n"
        "    name = 'made'\n"
        "    def __call__(self, row): return 1\n"
        "def rule_b(row): return 2\n"
        "def other(row): return 3\n"
        "rule_word = 'no function'\n"
        "decorated = Function()\n"
        "def rule_a(row): return 4\n",
    )
    found = callables(module, "rule_", "LabelingFunction")
    assert {name: rule(None) for name, rule in found.items()} == {
        "rule_b": 2, "made": 1, "rule_a": 4,
    }  # fmt: skip
    assert list(found) == ["rule_b", "made", "rule_a"]


def test_two_of_one_name_are_refused(tmp_path):
    source = (
        "class Function:\n"
        "    name = 'rule_a'\n"
        "    def __call__(self, row): return 1\n"
        "def rule_a(row): return 2\n"
        "b = Function()\n"
    )
    with pytest.raises(UserError, match="has two of the name rule_a: rename one"):
        callables(loaded(tmp_path, source), "rule_", "LabelingFunction")
