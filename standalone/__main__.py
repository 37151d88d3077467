"""`python -m standalone`: the same as `fitq up`."""

from standalone.commands import up

if __name__ == "__main__":
    up()
