"""A report as a folder."""

import json

import pytest

from bertjax.errors import UserError
from bertjax.evaluation.figures import Bars
from bertjax.evaluation.report import Report, Section
from bertjax.workflows.report_folder import versions_of, write_report

BARS = Bars("bars", "Rows", (("a", 1),))
REPORT = Report("Title", "", (), "", (), (Section("one", "One", (), (BARS,)),), "")


def test_page_numbers_and_pictures_are_written(tmp_path):
    facts = write_report(tmp_path / "out", False, REPORT, {"pair": (1, 2), "name": "é"})
    assert facts == {"pair": [1, 2], "name": "é"}
    numbers = (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert json.loads(numbers) == facts
    assert "é" in numbers
    assert "<h1>Title</h1>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "out" / "figures").iterdir()] == ["bars.png"]


def test_what_is_there_is_replaced_only_if_that_was_asked_for(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        write_report(tmp_path / "out", False, REPORT, {})
    write_report(tmp_path / "out", True, REPORT, {})
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_number_that_json_has_not_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path / "out", False, REPORT, {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_versions_are_those_of_packages_that_are_installed():
    assert set(versions_of(("numpy", "no-such-package"))) == {"numpy"}
