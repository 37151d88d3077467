"""Print the OpenAPI document: `python -m api.openapi > docs/openapi.json`."""

import json
import sys

from api import app, document


def text() -> str:
    """Return the document as it is committed."""
    return json.dumps(document.document(app.bare()), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
