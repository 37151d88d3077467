"""`python -m worker`: one worker process."""

from shared import preflight


def _main() -> None:
    from worker import app, tasks  # noqa: F401 - the task registers itself

    app.main()


if __name__ == "__main__":
    preflight.exit_with_reason("fitq worker", _main)
