"""The documents name what the code has, and lead where they say."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from shared.failpoints import Point
from shared.settings import Settings
from shared.spec import SPECS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "examples/*.md",
        "tests/*.md",
        "client/*.md",
        "alembic/*.md",
        "requirements/*.md",
    )
    for path in ROOT.glob(pattern)
)


def page(name: str) -> str:
    return (ROOT / name).read_text()


def parts(annotation: Any) -> set[type[BaseModel]]:
    """Return the models that an annotation reaches, their bases included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        own = {base for base in annotation.__mro__ if issubclass(base, BaseModel) and base is not BaseModel}
        return own.union(*(parts(field.annotation) for field in annotation.model_fields.values()))
    return set().union(*(parts(inner) for inner in get_args(annotation)))


def test_every_field_of_the_spec_is_explained_where_it_stands():
    models = set().union(*(parts(model) for model in SPECS.values()))
    fields = Counter(
        name for model in models for name in vars(model).get("__annotations__", {}) if name in model.model_fields
    )
    rows = Counter(re.findall(r"^\| `(\w+)` \|", page("docs/job-spec.md"), re.MULTILINE))

    assert len(fields) > 40
    # A field of two models has two rows.
    assert {name: count for name, count in fields.items() if rows[name] < count} == {}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_explained(name):
    default = Settings.model_fields[name].default
    row = re.search(rf"^\| `FITQ_{name.upper()}` \| (.+?) \|", page("docs/settings.md"), re.MULTILINE)

    assert row
    if isinstance(default, str | Path) and str(default):
        assert row[1] == f"`{default}`"
    elif isinstance(default, tuple):
        assert row[1] == f"`{','.join(default)}`"
    elif isinstance(default, int | float) and name != "slots":
        assert row[1] == f"`{default:g}`"


def test_no_setting_is_explained_that_is_not_there():
    explained = re.findall(r"^\| `FITQ_(\w+)`", page("docs/settings.md"), re.MULTILINE)

    assert sorted(explained) == sorted(name.upper() for name in Settings.model_fields)


def test_every_path_of_the_api_is_listed():
    described = json.loads(page("docs/openapi.json"))["paths"]
    listed = dict(re.findall(r"^\| `(/\S+)` \| ([A-Z, ]+) \|", page("docs/http.md"), re.MULTILINE))

    assert listed == {path: ", ".join(sorted(map(str.upper, methods))) for path, methods in described.items()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if "://" not in link]

    for link in links:
        name, _, place = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if place:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert place in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, link


def test_the_readme_is_short_and_says_how_to_begin():
    readme = page("README.md")

    assert len(readme.splitlines()) <= 120
    assert "make demo" in readme
    assert "make test" in readme


def missing_tests(name: str) -> list[str]:
    """Return the tests that a page names and that are not there."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page(name))
    return [f"{path}::{test}" for path, test in named if f"def {test}(" not in page(path)]


def test_every_guarantee_has_its_test():
    guarantees = page("docs/design.md").partition("## Guarantees")[2].partition("\n## ")[0]
    rows = [row for row in guarantees.splitlines() if row.startswith("| ")][2:]

    assert len(rows) > 20
    assert [row for row in rows if "::" not in row] == []
    assert missing_tests("docs/design.md") == []


#: The faults of docs/reliability.md: how many there are of each letter.
FAULTS = {"F": 22, "B": 13, "D": 12, "N": 8, "S": 10, "M": 15, "I": 12}


def test_every_fault_has_its_test_or_says_why_it_has_none():
    rows = re.findall(r"^\| ((?:[FBDNSMI]\d\d?(?:, )?)+) \|(.+)\|$", page("docs/reliability.md"), re.MULTILINE)
    told = Counter(one for ids, _ in rows for one in ids.split(", "))
    width = {"I": 1}

    assert told == {f"{kind}{n:0{width.get(kind, 2)}}": 1 for kind, most in FAULTS.items() for n in range(1, most + 1)}
    assert [ids for ids, row in rows if "::" not in row and "not tested here" not in row] == []
    assert missing_tests("docs/reliability.md") == []


def test_every_failpoint_is_explained():
    explained = re.findall(r"^\| `(\w+)` \|", page("docs/reliability.md"), re.MULTILINE)

    assert sorted(explained) == sorted(Point)
