"""A real browser on the pages of made-up leaderboards; without one the tests skip, unless it is required."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.leaderboard.board import Boards
from kdbench.leaderboard.site import build
from tests.browser import boards

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REQUIRED = os.environ.get("KDBENCH_REQUIRE_BROWSER") == "1"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def _missing(reason: str) -> None:
    if REQUIRED:
        pytest.fail(f"KDBENCH_REQUIRE_BROWSER=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the system, without a screen."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("the package playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        _missing("there is no chromium (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


Opener = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Opens an address; at the end nothing may have been fetched, logged as an error, thrown or asked."""
    contexts, troubles = [], []

    def watch(page: Page) -> None:
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def opened(address: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)

        def guard(route: Any) -> None:
            if route.request.url.startswith("file:"):
                route.continue_()
            else:
                troubles.append(f"asked for {route.request.url}")
                route.abort()

        context.route("**/*", guard)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.set_default_navigation_timeout(60_000)  # a thousand methods on a busy machine
        watch(page)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def _site(made: Boards, folder: Path) -> str:
    build(made, folder)
    return folder.as_uri()


@pytest.fixture(scope="session")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _site(boards.small(), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _site(boards.hostile(), tmp_path_factory.mktemp("hostile"))
