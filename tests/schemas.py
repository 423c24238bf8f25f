"""Compares what the commands write with the schemas in docs/schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).resolve().parents[1] / "docs" / "schemas"


def fits(document: str, name: str) -> Any:
    """Return the content of a JSON document; fails where the schema `name` does not describe it, or
    leaves out a field.
    """
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    content = json.loads(document)
    jsonschema.validate(content, _closed(schema), jsonschema.Draft7Validator)
    return content


def _closed(schema: Any) -> Any:
    """Return a schema whose objects have no other properties than it describes.

    Readers are told to ignore unknown ones; a field that is not described is a mistake of ours.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "required" in schema:
        closed["additionalProperties"] = False
    return closed
