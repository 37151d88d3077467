"""docs/er.md is the diagram of the tables that there are."""

from pathlib import Path

from shared import diagram, tables

PAGE = Path(__file__).resolve().parents[3] / "docs" / "er.md"


def test_the_page_is_current():
    assert PAGE.read_text() == diagram.text(), "run: python -m shared.diagram > docs/er.md"


def test_every_table_and_every_foreign_key_is_there():
    text = diagram.text()

    for table in tables.metadata.tables.values():
        assert f"    {table.name} {{\n" in text
        for key in table.foreign_keys:
            assert f" {table.name} : {key.parent.name}\n" in text
    assert "jobs ||--o| results : job_id" in text
    assert "jobs |o--o{ job_inputs : source_job_id" in text


def test_no_comment_ends_early():
    lines = [line for line in diagram.text().splitlines() if line.endswith('"')]

    assert lines
    assert all(line.count('"') == 2 and "<" not in line for line in lines)
