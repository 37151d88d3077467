"""`python -m worker`: one worker process."""

import sys

from shared.errors import Misconfigured

if __name__ == "__main__":
    try:
        from worker import app, tasks  # noqa: F401 - the task registers itself

        app.main()
    except Misconfigured as error:
        sys.exit(f"fitq worker: {error.message}")
