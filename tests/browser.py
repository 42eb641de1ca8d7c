"""A page in headless Chromium, and what it holds."""

from __future__ import annotations

import base64
import io
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    expect = sync_playwright = None

CHROMIUM = shutil.which("chromium")
MISSING = [
    name for name, there in (("playwright", sync_playwright), ("chromium", CHROMIUM)) if not there
]
if MISSING and os.environ.get("REQUIRE_BROWSER") == "1":
    raise RuntimeError(f"REQUIRE_BROWSER=1, but not installed: {', '.join(MISSING)}")
needs_browser = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@contextmanager
def chromium():
    """Chromium itself, for a whole test module."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@contextmanager
def opened(browser, **context):
    """A new page, and the list of its errors and warnings so far."""
    plain = {"color_scheme": "light", "reduced_motion": "reduce"}
    options = {"viewport": {"width": 1280, "height": 800}, **plain, **context}
    with browser.new_context(**options) as context:
        page, said = context.new_page(), []
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: listen(message, said))
        yield page, said


def listen(message, said):
    # TensorBoard has no favicon.ico, which every browser asks of a page that stands alone, and
    # below a prefix it looks for its own fonts in the wrong place.
    theirs = any(part in message.location["url"] for part in ("favicon", "/font-roboto/"))
    if message.type in ("error", "warning") and not theirs:
        said.append(message.text)


@contextmanager
def watched(browser, *allowed, **context):
    """A page that must not write errors or warnings to the console, except those named."""
    with opened(browser, **context) as (page, said):
        yield page
        assert [text for text in said if not any(part in text for part in allowed)] == []


def show(page, url, state=""):
    """Open the page in a state; where it is open already, by its address alone."""
    here, _, now = page.url.partition("#")
    if here == url and now != state:
        page.evaluate(
            """state => new Promise((done) => {
              // The page's own listener comes first, and begins to load.
              addEventListener("hashchange", () => {
                delete document.documentElement.dataset.ready;
                done();
              }, { once: true });
              location.hash = state;
            })""",
            state,
        )
    else:
        page.goto("about:blank")
        page.goto(f"{url}#{state}")
    page.wait_for_selector("html[data-ready='1']")
    settled(page)


def settled(page):
    """Wait for the drawing that a change has asked for."""
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")


def pixels(locator) -> np.ndarray:
    """What a canvas holds: uint8 (H, W, 3)."""
    url = locator.evaluate("canvas => canvas.toDataURL('image/png')")
    image = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
    return np.asarray(image.convert("RGB"))


def card(page, probe, which=0):
    """A canvas in the gallery, of a page or a frame."""
    return page.locator(f".card[data-probe='{probe}'] canvas").nth(which)
