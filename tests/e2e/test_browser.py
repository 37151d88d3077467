"""What a person sees in a browser."""

import os
import shutil
import subprocess

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=8000",
]


@pytest.fixture
def chromium():
    """A browser."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        assert not os.environ.get("CI"), "no chromium on the PATH"
        pytest.skip("no chromium on the PATH")
    return found


def test_the_documentation_renders_without_the_network(stack, chromium, tmp_path):
    page = subprocess.run(
        [chromium, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", f"{stack.state['url']}/docs"],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout

    assert "List jobs, the newest first." in page
    assert "/v1/jobs/{job_id}/cancel" in page
