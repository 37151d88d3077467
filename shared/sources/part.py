"""What every data source has in common. Pure."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from shared.parts import Part


class SourcePart(Part):
    """A data source, of which `rows` may narrow down the rows."""

    rows: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Use only the rows from the first number up to (not including) the second"
    )

    @field_validator("rows")
    @classmethod
    def _forwards(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and value[0] >= value[1]:
            raise PydanticCustomError("rows", "rows must be [first, end] with first < end")
        return value
