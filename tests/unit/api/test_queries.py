"""Query parameters."""

import pytest
from pydantic import ValidationError

from api.queries import JobsQuery, MetricsQuery, encode_cursor

JOB = "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"


def test_a_cursor_goes_there_and_back() -> None:
    cursor = encode_cursor(JOB)

    assert JOB not in cursor
    assert JobsQuery(cursor=cursor).cursor == JOB


@pytest.mark.parametrize("cursor", ["", "a", "====", "é", "Li4v", encode_cursor("job_1"), encode_cursor(JOB + "'")])
def test_other_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(ValidationError, match="is not a cursor"):
        JobsQuery(cursor=cursor)


def test_a_tags_key_ends_at_its_first_colon() -> None:
    assert JobsQuery(tag=["a:b:c", "d:"]).tags == (("a", "b:c"), ("d", ""))


def test_names_come_with_commas_or_repeated() -> None:
    assert MetricsQuery(names=["loss,val_loss", "lr", ""]).wanted == ("loss", "val_loss", "lr")
    assert MetricsQuery().wanted == ()
