"""A headless Chromium for the tests of HTML pages, or the reason why there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright
from playwright.sync_api import Error as PlaywrightError

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@contextmanager
def headless_chromium() -> Iterator[Browser]:
    """Playwright's own build, else one of the machine; skips the test where none of them starts."""
    with sync_playwright() as playwright:
        browser = _launched(playwright)
        try:
            yield browser
        finally:
            browser.close()


def _launched(playwright: Playwright) -> Browser:
    own = None
    of_the_machine = [path for name in NAMES if (path := shutil.which(name))]
    reasons = []
    for path in (own, *of_the_machine):
        try:
            return playwright.chromium.launch(executable_path=path)
        except PlaywrightError as error:
            reasons.append(f"{path or 'of Playwright'}: {str(error).splitlines()[0]}")
    pytest.skip(f"no headless Chromium starts ({'; '.join(reasons)}); `make test` installs one where it can")
