"""Start a program that dies with the process that started it, in a session of its own.

`python -m standalone.tether PARENT-PID PROGRAM ARGUMENT…`: the terminal's Ctrl-C does not reach the program,
and the kernel kills it when its parent is gone, however that ended.
"""

import os
import sys

from worker import guard


def main() -> None:
    """Become the program."""
    os.setsid()
    guard.die_with_parent()
    if os.getppid() != int(sys.argv[1]):
        # It died before the request above.
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is what it is for


if __name__ == "__main__":
    main()
