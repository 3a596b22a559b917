"""The report of a run in a real Chromium: wide and narrow, light and dark."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate import evaluate

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=alert(1)>"
SLICES = f"""
def slice_hostile(row):
    '''{HOSTILE}'''
    if row.title == "dog":
        raise ValueError("{HOSTILE} " + "w" * 300)
    return "o" in row.title
"""
BEHAVIOUR = f"""
from bertjax.evaluation.behaviour import Direction, Invariance, Minimum

def change(text):
    if "dog" in text:
        raise ValueError("{HOSTILE} " + "w" * 300)
    return text + "{HOSTILE}" + "w" * 300

hostile = Invariance(change)
more = Direction("money", change, tolerance=0)
plain = Minimum("weather", ["cat {HOSTILE}"])
"""


@pytest.fixture(scope="module")
def report(table_file: Path, run_folder: Path, write_model, tmp_path_factory) -> Path:
    """Of a table that has something of everything that a report shows."""
    folder = tmp_path_factory.mktemp("evaluated")
    lines = table_file.read_text(encoding="utf-8").splitlines()[1:]
    rows = [
        dict(zip(("title", "description", "tag"), line.split(","), strict=True)) for line in lines
    ]
    rng = np.random.default_rng(0)
    for row in rng.choice(60, 12, replace=False):
        rows[row]["tag"] = "money"
    rows += [
        {"title": HOSTILE, "description": "w" * 300, "tag": "animals"},
        {"title": "", "description": "", "tag": "weather"},
        {"title": "人工智能", "description": "long " * 200, "tag": "weather"},
    ]
    data = folder / "table.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    slices = folder / "slices.py"
    slices.write_text(SLICES)
    run = folder / "run"
    run.symlink_to(run_folder)
    behaviour = folder / "behaviour.py"
    behaviour.write_text(BEHAVIOUR)
    labels = ("animals", "money", "weather")
    config = EvaluateConfig(
        run=str(run),
        data=str(data),
        out=folder / "report",
        slices=slices,
        behaviour=behaviour,
        compare=str(
            write_model(
                folder / "other",
                "text-classification",
                run_folder,
                num_hidden_layers=1,
                id2label=labels,
            )
        ),
    )
    evaluate(config)
    return folder / "report" / "report.html"


def test_headings_lead_through_the_page(page):
    expect(page.get_by_role("heading", level=1)).to_have_text("How well run predicts table.jsonl")
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    assert titles[:4] == ["What to know before using it", "Scores", "Confusions", "Slices"]
    for link in page.get_by_role("navigation").get_by_role("link").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_the_confusions_are_a_table_that_can_be_read_aloud(page):
    matrix = page.locator("table.matrix")
    assert matrix.get_by_role("rowheader").all_inner_texts() == ["animals", "money", "weather"]
    names = matrix.get_by_role("columnheader").all_inner_texts()
    assert names[1:] == ["animals", "money", "weather", "rows"]
    cells = [int(text) for text in matrix.get_by_role("cell").all_inner_texts()]
    assert sum(cells) == 2 * 63  # each row once, and in the sums


def test_pictures_say_what_they_show(page):
    for chart in page.locator("svg[role=img]").all():
        assert len(chart.get_attribute("aria-label") or "") > 20
    point = page.locator("figure.lines circle title").first
    assert re.fullmatch(r"confidence [\d.]+%, right [\d.]+%", point.text_content())


def test_what_is_wider_than_the_screen_can_be_scrolled_by_keyboard(page):
    for region in page.get_by_role("region").all():
        assert region.get_attribute("aria-label") or region.get_attribute("aria-labelledby")
    page.locator("figure .scroll").focus()
    assert page.evaluate("document.activeElement.className") == "scroll"


def test_words_are_marked_by_their_sign_and_told_below(page):
    figure = page.locator("figure.tinted").first
    marks = figure.locator("mark")
    assert marks.count() > 0
    for mark in marks.all():
        kind, style = mark.evaluate("e => [e.className, getComputedStyle(e).borderBottomStyle]")
        assert style == {"for": "solid", "against": "dashed"}[kind]
        weight = float(mark.get_attribute("title"))
        assert (weight > 0) == (kind == "for")
    expect(figure.locator("p.soft")).to_have_text(re.compile(r"^For .+; against .+"))


@pytest.mark.parametrize(
    "page", [{"viewport": WIDE}, {"viewport": NARROW}], indirect=True, ids=["wide", "narrow"]
)
def test_nothing_is_wider_than_the_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    for point in page.locator(".spans .point").all():
        box, track = point.bounding_box(), point.locator("xpath=..").bounding_box()
        middle = box["x"] + box["width"] / 2
        assert track["x"] - 1 <= middle <= track["x"] + track["width"] + 1


@pytest.mark.parametrize(
    "page",
    [
        {"viewport": size, "color_scheme": scheme}
        for size in (WIDE, NARROW)
        for scheme in ("light", "dark")
    ],
    indirect=True,
    ids=["wide-light", "wide-dark", "narrow-light", "narrow-dark"],
)
def test_no_rule_of_accessibility_is_broken(page, request):
    found = Axe().run(page)  # names, roles, contrast
    assert found.response["violations"] == [], found.generate_report()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
    assert (lightness < 60) == ("dark" in request.node.callspec.id)
