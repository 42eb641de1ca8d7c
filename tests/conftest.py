"""What all tests share: patience, and fixtures of those that look at the tab's page."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.browser import chromium, opened

# A busy machine is no reason to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared(browser):
    with opened(browser) as page_and_said:
        yield page_and_said


@pytest.fixture
def page(shared):
    """One page for all: a new address is shown much sooner than a new page."""
    page, said = shared
    yield page
    page.emulate_media(color_scheme="light")
    wrong = said.copy()
    said.clear()
    assert wrong == []
