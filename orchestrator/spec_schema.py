"""What the models of a spec share: the forms of values that clients write, as validators and as schema. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema

from orchestrator import spec_text as read

JsonSchema = dict[str, Any]
NULL: JsonSchema = {"type": "null"}
FROZEN = ConfigDict(frozen=True, extra="ignore")  # keys that a model does not know are judged elsewhere


class Accepts:
    """Annotation: the request schema allows these forms beside the model's own."""

    def __init__(self, *forms: JsonSchema) -> None:
        self.forms = forms

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> JsonSchema:
        own = handler(core_schema)
        return {"anyOf": [own, *self.forms]} if handler.mode == "validation" else own


def number(low: int, high: int, *, optional: bool = False) -> tuple[Any, Any]:
    """A whole number, also as decimal text; `optional`: or null, for none."""
    forms: list[JsonSchema] = [
        {"type": "integer", "minimum": low, "maximum": high},
        {"type": "string", "pattern": "^[0-9]{1,9}$", "description": "the same number as decimal text"},
        *([NULL] if optional else []),
    ]
    whole = read.whole(low, high)
    reader = BeforeValidator(lambda value: None if optional and value is None else whole(value))
    return reader, WithJsonSchema({"anyOf": forms}, mode="validation")


def words(*allowed: str) -> tuple[Any, Any]:
    """One of the given words."""
    return BeforeValidator(read.one_of(*allowed)), WithJsonSchema({"type": "string", "enum": list(allowed)})
