"""A report in a real Chromium: wide and narrow, light and dark."""

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bertjax.workflows.explore import explore
from bertjax.workflows.explore_configs import ExploreConfig

WIDE = {"width": 1400, "height": 900}
NARROW = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def report(table_file: Path, tiny_folder: Path, tmp_path_factory) -> Path:
    """Of a table that has something of everything that a report shows."""
    folder = tmp_path_factory.mktemp("explored")
    lines = table_file.read_text(encoding="utf-8").splitlines()[1:]
    rows = [
        dict(zip(("title", "description", "tag"), line.split(","), strict=True)) for line in lines
    ]
    rows += [
        {"title": HOSTILE, "description": "w" * 300, "tag": HOSTILE},
        {"title": HOSTILE, "description": "w" * 300, "tag": "a long name of a class " * 4},
        {"title": "", "description": "人工智能 машинное", "tag": "animals"},
        {"title": "", "description": "", "tag": ""},
    ]
    rows += rows[:2] + rows[-4:-2]
    data = folder / "table.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    config = ExploreConfig(
        data=str(data),
        out=folder / "report",
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
    )
    explore(config)
    return config.out / "report.html"


def test_pointing_at_a_text_shows_it(page):
    dot = page.locator("circle[data-group='1']").first
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    tip = page.locator(".tip")
    expect(tip).to_be_hidden()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(tip).to_be_visible()
    expect(tip.locator("span")).to_have_text(re.compile(r"^row \d+: "))
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()


def test_a_class_can_be_seen_alone(page):
    button = page.get_by_role("button", name="money")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    group = button.get_attribute("data-group")
    assert page.locator("circle.dim").count() == page.locator("circle[data-text]").count() - 21
    assert page.locator(f"circle.dim[data-group='{group}']").count() == 0
    button.click()
    assert page.locator("circle.dim").count() == 0


def test_headings_lead_through_the_page(page):
    expect(page.get_by_role("heading", level=1)).to_have_text("What is in table.jsonl")
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    assert titles[:3] == ["What to know before training", "Classes", "Map"]
    for link in page.get_by_role("navigation").get_by_role("link").all():
        assert page.locator(link.get_attribute("href")).count() == 1


@pytest.mark.parametrize(
    "page", [{"viewport": WIDE}, {"viewport": NARROW}], indirect=True, ids=["wide", "narrow"]
)
def test_nothing_is_wider_than_the_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    words = page.locator("text.word").all()
    assert words
    for word in words:
        box, cloud = word.bounding_box(), word.locator("xpath=..").bounding_box()
        assert box["x"] >= cloud["x"] - 1
        assert box["x"] + box["width"] <= cloud["x"] + cloud["width"] + 1
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 44  # for fingers


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
    page.get_by_role("button", name="money").click()
    found = Axe().run(page)  # names, roles, contrast
    assert found.response["violations"] == [], found.generate_report()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
    assert (lightness < 60) == ("dark" in request.node.callspec.id)
