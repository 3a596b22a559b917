"""The page for people, in a real Chromium against a real server."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from bertjax.serving.predictor import Predictor

TEXT = "the cat of the bank"
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def predictor(checkpoint):
    run = replace(checkpoint.run, scores=SCORES)
    return Predictor(replace(checkpoint, run=run), threshold=0.97)


SCORES = {
    "accuracy": 0.75,
    "weighted_f1": 0.7,
    "support": 4,
    "per_class": {"animals": {"precision": 0.5, "recall": 1.0, "f1": 0.667, "support": 1}},
}


@pytest.fixture(scope="module")
def server(predictor, start_server):
    with start_server(predictor, max_characters=200) as server:
        yield server


@pytest.fixture
def page(browser, server, request) -> Iterator[Page]:
    options = getattr(request, "param", {})
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: sent.url.startswith(server.url) or problems.append(sent.url))
    page.goto(server.url)
    yield page
    context.close()
    assert problems == []  # no script failed, and nothing was asked of others


def classify(page: Page, text: str = TEXT) -> None:
    page.get_by_role("textbox", name="Text").fill(text)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("region", name=re.compile(r"\w"))).to_have_count(2)


def test_a_text_gets_its_label_and_a_bar_for_each_class(page, predictor):
    classify(page)
    [prediction] = predictor([TEXT])
    assert prediction["score"] < 0.97
    expect(page.locator("#answer")).to_have_text("uncertain")
    label, score = prediction["label"], f"{100 * prediction['score']:.1f} %"
    expect(page.locator("#notes")).to_have_text(
        f"Most probable is {label}, but {score} is under the threshold."
    )
    ranked = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])
    expected = [f"{name}{100 * value:.1f} %" for name, value in ranked]
    expect(page.get_by_role("listitem")).to_have_text(expected)
    track = page.locator(".track").first.bounding_box()
    fill = page.locator(".fill").first.bounding_box()
    assert fill["width"] / track["width"] == pytest.approx(ranked[0][1], abs=0.01)
    expect(page.locator("#latency")).to_have_text(re.compile(r"Answered in \d+ ms\."))


def test_words_that_carried_the_decision_are_marked_on_demand(page, predictor):
    classify(page)
    page.get_by_role("button", name="Which words carried this?").click()
    expect(page.locator("#words mark")).to_have_text(TEXT.split())
    assert page.locator("#words").inner_text() == TEXT
    weights = {}
    [whole] = predictor([TEXT])
    for i, mark in enumerate(page.locator("#words mark").all()):
        words = TEXT.split(" ")
        [without] = predictor([" ".join([*words[:i], "", *words[i + 1 :]])])
        weights[i] = whole["score"] - without["probabilities"][whole["label"]]
        alpha = mark.evaluate("mark => getComputedStyle(mark).backgroundColor")
        weights[i] = (abs(weights[i]), float(alpha.rstrip(")").rsplit(",", 1)[1]))
    strongest = max(weights.values())
    assert strongest[1] == pytest.approx(0.75, abs=0.01)


def test_sign_and_size_are_told_by_lines_and_in_words_too(page, server):
    classify(page)
    page.get_by_role("button", name="Which words carried this?").click()
    marks = page.locator("#words mark")
    expect(marks).to_have_count(5)
    words = server.post("/explain", {"text": TEXT}).json()["words"]
    most = max(abs(word["weight"]) for word in words)
    styles = marks.evaluate_all(
        "all => all.map(getComputedStyle).map(one => [one.textDecorationLine,"
        " one.textDecorationStyle, parseFloat(one.textDecorationThickness)])"
    )
    for word, (line, style, thickness) in zip(words, styles, strict=True):
        share = abs(word["weight"]) / most
        expected = "solid" if word["weight"] >= 0 else "wavy"
        assert (line, style) == (("underline", expected) if share >= 0.05 else ("none", "solid"))
        assert thickness == pytest.approx(1 + 2 * share, abs=0.06)
    assert {style for _, style, _ in styles} == {"solid", "wavy"}
    ranked = sorted(words, key=lambda word: -abs(word["weight"]))
    signs = ["\N{MINUS SIGN}" if word["weight"] > 0 else "+" for word in ranked]
    expected = [
        f"{word['text']}{sign}{100 * abs(word['weight']):.1f} %"
        for word, sign in zip(ranked, signs, strict=True)
    ]
    listed = page.get_by_role("list", name="Change in the probability of")
    expect(listed.get_by_role("listitem")).to_have_text(expected)


def test_groups_and_what_is_not_read_are_told(browser, predictor, start_server):
    with start_server(predictor, max_texts=10) as server:
        page = browser.new_page()
        page.goto(server.url)
        text = " ".join(["cat", "dog", "bank", "tax"] * 25)
        classify(page, text)
        expect(page.locator("#notes")).to_contain_text("its end was not read")
        page.get_by_role("button", name="Which words").click()
        expect(page.locator("#words mark")).to_have_count(9)
        expect(page.locator("#how")).to_contain_text("groups of 7 words were left out in turn")
        expect(page.locator("#how")).to_contain_text("What is grey was not read.")
        rest = " ".join(text.split()[predictor.max_length - 2 :])
        assert page.locator("#words .unread").inner_text() == " " + rest
        assert page.locator("#words").inner_text() == text
        expect(page.locator("#ranked li")).to_have_count(8)
        page.close()


def test_what_happens_is_told_in_regions_that_were_there_before(page):
    status, alert = page.get_by_role("status"), page.get_by_role("alert")
    for region in (status, alert):
        expect(region).to_have_text("")
        assert region.evaluate("one => getComputedStyle(one).display") != "none"
    classify(page)
    expect(status).to_have_text(re.compile(r"^uncertain, \w+ \d+\.\d %\. Most probable is"))
    page.get_by_role("textbox", name="Text").fill("a" * 201)
    page.get_by_role("button", name="Classify").click()
    expect(alert).to_contain_text("at most 200 characters")
    expect(status).to_have_text("")


def test_the_keyboard_is_enough(page):
    page.get_by_role("textbox", name="Text").focus()
    page.keyboard.type(TEXT)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer")).to_have_text("uncertain")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Which words")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#words mark")).to_have_count(5)
    expect(page.locator("#why-title")).to_be_focused()
    page.get_by_role("button", name="Classify").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Which words")).to_be_visible()
    expect(page.get_by_role("button", name="Classify")).to_be_focused()


def test_what_the_server_refuses_is_said(page):
    classify_button = page.get_by_role("button", name="Classify")
    page.get_by_role("textbox", name="Text").fill("a" * 201)
    classify_button.click()
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("text: String should have at most 200 characters")
    expect(classify_button).to_be_enabled()
    page.get_by_role("textbox", name="Text").fill(TEXT)
    classify_button.click()
    expect(page.locator("#answer")).to_have_text("uncertain")
    expect(alert).to_be_hidden()


def test_a_text_is_shown_as_text(page):
    text = "<img src=x onerror=alert(1)> cat 🦖 bank"
    classify(page, text)
    page.get_by_role("button", name="Which words").click()
    expect(page.locator("#words mark")).to_have_count(6)
    assert page.locator("#words").inner_text() == text
    assert page.locator("#words img").count() == 0


def test_the_model_tells_of_itself(page, server):
    expect(page.get_by_role("heading", level=1)).to_have_text(server.about["name"])
    page.get_by_role("link", name="Model report").click()
    expect(page.locator("#facts")).to_contain_text(server.about["model"])
    expect(page.get_by_role("row")).to_have_text(
        ["ClassPrecisionRecallF1Rows", "animals0.5001.0000.6671"]
    )
    page.get_by_text("All of it as JSON").click()
    shown = json.loads(page.get_by_role("region", name="as JSON").inner_text())
    assert shown == server.client.get("/model").json()
    with page.expect_navigation():
        page.get_by_role("link", name="API docs").click()
    expect(page.get_by_text("/predict", exact=True)).to_be_visible()


def test_a_server_with_a_token_asks_for_it(browser, predictor, start_server):
    with start_server(predictor, token="sesame") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_role("textbox", name="Text").fill(TEXT)
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("alert")).to_have_text("This server asks for a token.")
        page.get_by_label("Token of this server").fill("sesame")
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("#answer")).to_have_text("uncertain")
        page.close()


def test_a_report_behind_a_token_opens_with_it(browser, predictor, start_server):
    with start_server(predictor, token="sesame") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_role("link", name="Model report").click()
        alert, token = page.get_by_role("alert"), page.get_by_label("Token of this server")
        expect(alert).to_have_text("This server asks for a token.")
        expect(token).to_be_focused()
        expect(page.locator("#waits")).to_be_visible()
        page.keyboard.type("open")
        page.get_by_role("textbox", name="Text").fill(TEXT)
        page.get_by_role("button", name="Classify").click()
        expect(alert).to_have_text("That token is wrong.")
        expect(token).to_be_focused()
        token.fill("sesame")
        page.keyboard.press("Tab")
        expect(page.locator("#facts")).to_contain_text(server.about["model"])
        expect(alert).to_have_text("")
        expect(page.locator("#waits")).to_be_hidden()
        page.get_by_text("All of it as JSON").click()
        expect(page.locator("#json")).to_contain_text(server.about["model"])
        page.close()


def test_values_of_a_regression_are_no_percentages(browser, checkpoint, start_server):
    config = replace(checkpoint.config, problem_type="regression")
    predictor = Predictor(replace(checkpoint, config=config))
    with start_server(predictor) as server:
        page = browser.new_page()
        page.goto(server.url)
        classify(page)
        [prediction] = predictor([TEXT])
        expect(page.locator("#answer")).to_have_text("3 values")
        values = page.get_by_role("list", name="Values")
        ranked = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])
        for item, (name, value) in zip(values.get_by_role("listitem").all(), ranked, strict=True):
            label, shown = item.locator("span span").all_inner_texts()
            assert label == name
            assert float(shown.replace("\N{MINUS SIGN}", "-")) == pytest.approx(value, rel=1e-3)
        expect(page.locator(".track")).to_have_count(0)
        page.get_by_role("button", name="Which words").click()
        expect(page.locator("#how")).to_contain_text(f"the value of {prediction['label']} falls")
        expect(page.locator("main")).not_to_contain_text(re.compile(r"\d %"))
        page.close()


def test_words_are_those_of_the_model_that_answered(page, server):
    one, other = server.about["model"], "0123456789ab"

    def tell_of_two(route) -> None:
        facts = {**server.about, "others": {other: "newer"}}
        route.fulfill(json=facts)

    def answer_by_other(route) -> None:
        route.fulfill(json={**server.post("/predict", {"text": TEXT}).json(), "model": other})

    page.route("**/model", tell_of_two)
    page.reload()
    classify(page)
    expect(page.locator("#latency")).to_contain_text(f"By {server.about['name']}, model {one}.")
    with page.expect_request("**/explain") as asked:
        page.get_by_role("button", name="Which words").click()
    assert asked.value.headers["x-model"] == one
    expect(page.locator("#how")).not_to_contain_text("another model")
    page.route("**/predict", answer_by_other)
    classify(page)
    expect(page.locator("#latency")).to_contain_text(
        f"By newer, model {other}, which is tried out."
    )
    with page.expect_request("**/explain") as asked:
        page.get_by_role("button", name="Which words").click()
    assert asked.value.headers["x-model"] == other
    expect(page.locator("#how")).to_contain_text(f"These are words of another model, {one}.")


@pytest.mark.parametrize("page", [{"viewport": PHONE}], indirect=True)
def test_it_fits_on_a_phone(page):
    classify(page, "a" * 150)  # one word that is longer than the screen is wide
    page.get_by_role("button", name="Which words").click()
    page.get_by_role("link", name="Model report").click()
    expect(page.locator("#facts")).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    assert page.get_by_role("cell", name="animals").bounding_box()["width"] > 100
    scores = page.get_by_role("region", name="held-out rows: accuracy 75.0 %")
    assert scores.evaluate("box => box.scrollWidth - box.clientWidth") <= 0  # nothing is cut off
    scores.focus()
    expect(scores).to_be_focused()
    assert page.locator("#scores-title").evaluate("title => title.closest('.scroll')") is None
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 44  # for fingers


@pytest.mark.parametrize(
    "page", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True, ids=str
)
def test_no_rule_of_accessibility_is_broken(page, request):
    classify(page)
    page.get_by_role("button", name="Which words").click()
    page.get_by_role("link", name="Model report").click()
    expect(page.locator("#words mark")).to_have_count(5)
    found = Axe().run(page)  # names, roles, contrast
    assert found.response["violations"] == [], found.generate_report()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
    assert (lightness < 60) == ("dark" in str(request.node.callspec.params["page"]))
