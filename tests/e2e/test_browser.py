"""What a person sees in a browser."""

import shutil
import subprocess

import pytest

from tests.e2e.backends import on_sqlite
from tests.e2e.stacks import until
from tests.lacking import lacking

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=60000",
]


@pytest.fixture
def chromium():
    """A browser."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        lacking("no chromium on the PATH")
    return found


def page(chromium, url, profile):
    """Return what a page has become when the browser's time is up: on a busy machine, perhaps too early."""
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@on_sqlite
def test_the_documentation_renders_without_the_network(stack, chromium, tmp_path):
    def drawn():
        found = page(chromium, f"{stack.state['url']}/docs", tmp_path)
        return found if "List jobs, the newest first." in found else None

    assert "/v1/jobs/{job_id}/cancel" in until(drawn, "the routes on the page")
