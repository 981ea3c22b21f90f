"""The chat page in a browser: Debian's chromium, or the one that playwright brings, where there is one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("playwright")
pytest.importorskip("httpx2")

import httpx2 as httpx
from playwright.sync_api import expect, sync_playwright
from serving_models import byte_model, running

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>\u202e&amp;\x00'


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served") / "model"
    byte_model(folder, context=2048)
    with running(folder, max_tokens=2000) as (_, address):
        yield address


@pytest.fixture
def page(browser, address) -> Iterator:
    """The page, with what it logs and which requests it makes noted; both must be as expected at the end."""
    context = browser.new_context(viewport={"width": 900, "height": 700}, reduced_motion="reduce")
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if is_problem(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if not request.url.startswith(address) else None)
    page.goto(address)
    yield page
    context.close()
    assert problems == []


def is_problem(message) -> bool:
    """All but the status of a request that failed, which the browser logs by itself."""
    return message.type in ("error", "warning") and not message.text.startswith("Failed to load resource")


def settle(page, **settings: str) -> None:
    """Change settings by the names of their fields."""
    page.get_by_role("button", name="Settings").click()
    for name, value in {"seed": "1", **settings}.items():
        field = page.locator(f"#settings [name={name}]")
        field.select_option(value) if name == "mode" else field.fill(value)
    page.get_by_role("button", name="Done").click()


def say(page, text: str) -> None:
    page.get_by_label("Message", exact=False).first.fill(text)
    page.keyboard.press("Enter")


def answers(page):
    return page.locator("li.assistant .said")


def wait_until_answered(page) -> None:
    page.locator("#log[aria-busy=false]").wait_for(state="attached")


def test_an_answer_is_streamed_with_its_speed_and_kept_over_a_reload(page) -> None:
    settle(page, max_tokens="40")
    say(page, "Hello")
    wait_until_answered(page)
    text = answers(page).inner_text()
    assert text
    assert "40 tokens" in page.locator("li.assistant .note").inner_text()
    assert "tokens/s" in page.locator("li.assistant .note").inner_text()
    expect(page).to_have_title("tiny - tinylm")
    page.reload()
    assert answers(page).inner_text() == text
    assert page.locator("li.user .said").inner_text() == "Hello"
    page.get_by_role("button", name="New").click()
    assert page.locator("li").count() == 0


def test_a_stopped_answer_keeps_what_there_is_and_frees_the_model(page, address) -> None:
    settle(page, max_tokens="1900")
    say(page, "Hello")
    page.locator(".piece").nth(5).wait_for()
    page.get_by_role("button", name="Stop").click()
    wait_until_answered(page)
    assert page.locator("li.assistant .note").inner_text() == "stopped"
    deadline = time.monotonic() + 20
    while page.evaluate("async () => (await (await fetch('health')).json()).active"):
        assert time.monotonic() < deadline
    assert page.evaluate("document.activeElement.id") == "text"


def test_the_keyboard_alone_reaches_a_token_and_its_alternatives(page) -> None:
    settle(page, max_tokens="30", alternatives="4")
    say(page, "Hello")
    wait_until_answered(page)
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.className") == "said"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    table = page.locator("#alternatives table").first
    assert 4 <= table.get_by_role("row").count() <= 5
    assert table.get_by_text("drawn", exact=True).count() == 1
    assert "%" in table.inner_text()
    assert page.locator(".piece.chosen").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".piece.chosen").count() == 0
    assert table.is_hidden()


def test_a_text_may_be_continued_instead_of_answered(page, address) -> None:
    settle(page, mode="text", max_tokens="20", temperature="0", seed="")
    say(page, "Once")
    wait_until_answered(page)
    asked = {"prompt": "Once", "temperature": 0, "max_tokens": 20}
    expected = httpx.post(f"{address}/v1/completions", json=asked, trust_env=False).json()["choices"][0]["text"]
    assert answers(page).evaluate("said => said.textContent") == expected
    page.locator(".piece").first.click()
    assert page.locator("#alternatives tr").count() >= 5


def test_what_is_said_is_shown_and_never_run(page) -> None:
    body = {
        "choices": [
            {
                "delta": {"content": HOSTILE},
                "finish_reason": None,
                "logprobs": {"content": [{"token": HOSTILE, "logprob": -1, "bytes": [], "top_logprobs": []}]},
            }
        ]
    }
    events = "data: " + json.dumps(body) + "\n\ndata: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=events, content_type="text/event-stream"))
    say(page, HOSTILE)
    wait_until_answered(page)
    page.locator(".piece").click()
    assert answers(page).evaluate("said => said.textContent") == HOSTILE
    assert page.locator("#log img, #log script").count() == 0
    assert "[U+202E]" in page.locator("#alternatives").inner_text()
    page.reload()
    expect(page).to_have_title("tiny - tinylm")
    assert page.locator("#log img, #log script").count() == 0


def test_an_error_is_told_and_gives_the_message_back(page) -> None:
    settle(page, top_k="999")
    say(page, "Hello")
    wait_until_answered(page)
    assert "top_k is 999" in page.get_by_role("alert").inner_text()
    assert page.locator("#text").input_value() == "Hello"
    assert page.locator("li").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 900])
def test_nothing_sticks_out_of_any_screen_and_colours_can_be_read(
    page, scheme: str, width: int, tmp_path: Path
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    settle(page, max_tokens="60", temperature="0.7")
    say(page, "A long word: " + "w" * 200)
    wait_until_answered(page)
    page.locator(".piece").nth(3).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in (".note", ".said", "button", "h2", "#send"):
        assert page.locator(f"{selector} >> visible=true").first.evaluate(CONTRAST) >= 4.5, selector
    folder = Path(os.environ.get("TINYLM_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"chat-{scheme}-{width}.png")
    page.get_by_role("button", name="Settings").click()
    page.screenshot(path=folder / f"settings-{scheme}-{width}.png")
    assert page.evaluate("document.getElementById('settings').getBoundingClientRect().right") <= width


# WCAG's contrast of an element's text with the nearest background behind it.
CONTRAST = """element => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  let behind = element;
  while (behind && (channels(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const colours = [getComputedStyle(element).color, getComputedStyle(behind ?? document.body).backgroundColor];
  const both = colours.map(luminance);
  return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""
