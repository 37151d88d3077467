"""What a test needs and a machine may lack: a service, a program, a right."""

import os
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test for want of `what`; fail it where CI is set, which must have everything."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)
