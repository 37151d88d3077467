"""The version of fitq that runs."""

from importlib.metadata import version

#: As pyproject.toml says.
VERSION = version("fitq-server")
