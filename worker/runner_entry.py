"""The name by which a supervisor, which never imports Keras, calls the runner.

The import happens in the child: its forkserver has done it long before.
"""

from multiprocessing.connection import Connection

from worker.wire import Assignment


def main(connection: Connection, assignment: Assignment) -> None:
    """Be a runner."""
    from worker import runner

    runner.main(connection, assignment)


def say_warm(connection: Connection) -> None:
    """Say whether Keras is there."""
    from worker import runner

    runner.say_warm(connection)
