"""A report in Chromium, which may ask for nothing and complain of nothing."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

WIDE = {"width": 1280, "height": 900}


@pytest.fixture
def page(browser, report, request) -> Iterator[Page]:
    """The test file's `report`, by default on a wide screen."""
    context = browser.new_context(
        **getattr(request, "param", {"viewport": {"width": 1280, "height": 900}})
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda sent: sent.url == report.as_uri() or problems.append(sent.url))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert [problem for problem in problems if not problem.startswith("data:")] == []
