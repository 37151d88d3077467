"""`python -m shared.volume`: `fitq fsck` where there is no command line, such as in a container. Prints JSON."""

import argparse
import json
import sys

from shared import db, preflight, settings
from shared.errors import Misconfigured
from shared.volume import report


def main() -> int:
    """Return the exit status: 0 clean, 1 found, 2 when it cannot look."""
    parser = argparse.ArgumentParser(prog="python -m shared.volume", description="Find where rows and files disagree.")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended")
    parser.add_argument("--quick", action="store_true", help="compare sizes alone; read no file")
    asked = parser.parse_args()
    try:
        config = settings.load()
        engine = db.connect(config.database_url, pool_size=2)
        preflight.check_schema(engine)
        made = report.make(engine, config, fix=asked.fix, quick=asked.quick)
    except Misconfigured as error:
        sys.stderr.write(f"{parser.prog}: {error.message}\n")
        return 2
    except Exception as error:
        if (reason := report.reason(error)) is None:
            raise
        sys.stderr.write(f"{parser.prog}: {reason}\n")
        return 2
    sys.stdout.write(json.dumps(made.to_json(), indent=2) + "\n")
    return made.status


if __name__ == "__main__":
    sys.exit(main())
