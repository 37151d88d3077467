"""`python -m fitq`: the `fitq` command."""

from fitq.cli import main

main()
