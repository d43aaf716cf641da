"""Reading the JSON Schema of a provider's parameters: types, defaults and constraints, for people and for `-p`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

_DEPTH = 20
_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("multipleOf", "multiple of {}"),
    ("pattern", "matches {}"),
)
_COUNTS = (("Length", "character"), ("Items", "item"), ("Properties", "key"))


class Parameter(NamedTuple):
    """One parameter as a person reads it; `default` is JSON text, None where it has to be given."""

    name: str
    type: str
    default: str | None
    constraints: str
    description: str


class Parameters:
    """What a provider takes, by its input schema as JSON text; empty text takes anything."""

    def __init__(self, schema_text: str) -> None:
        read = json.loads(schema_text) if schema_text.strip() else {}
        self.root: Schema = read if isinstance(read, dict) else {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the schema knows, in its order."""
        return tuple(self.root.get("properties", {}))

    @property
    def open(self) -> bool:
        """Whether other names are taken as well."""
        return self.root.get("additionalProperties", True) is not False

    def schema(self, name: str) -> Schema:
        """What one parameter must be like; empty where it may be anything."""
        found = self.root.get("properties", {}).get(name, self.root.get("additionalProperties", {}))
        return found if isinstance(found, dict) else {}

    def required(self, name: str) -> bool:
        """Whether there is no start without it."""
        return name in self.root.get("required", ())

    def alternatives(self, schema: Schema) -> tuple[Schema, ...]:
        """The schemas of which a value has to fit one, with references and unions resolved."""
        return tuple(self._alternatives(schema, _DEPTH))

    def _alternatives(self, schema: Schema, depth: int) -> Iterator[Schema]:
        if depth == 0 or not isinstance(schema, dict):
            yield {}
            return
        reference = schema.get("$ref")
        parts = schema.get("anyOf") or schema.get("oneOf")
        if not parts and len(schema.get("allOf", ())) == 1:
            parts = schema["allOf"]
        kinds = schema.get("type")
        if isinstance(reference, str):
            yield from self._alternatives(self._resolve(reference), depth - 1)
        elif parts:
            for part in parts:
                yield from self._alternatives(part, depth - 1)
        elif isinstance(kinds, list):
            yield from ({**schema, "type": kind} for kind in kinds)
        else:
            yield schema

    def _resolve(self, reference: str) -> Schema:
        found: Any = self.root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
            )
        return found if isinstance(found, dict) else {}

    def described(self) -> tuple[Parameter, ...]:
        """Every parameter as a person reads it."""
        return tuple(self._described(name) for name in self.names)

    def _described(self, name: str) -> Parameter:
        schema = self.schema(name)
        default = None if self.required(name) else _json(schema.get("default"))
        constraints = dict.fromkeys(
            text for each in (schema, *self.alternatives(schema)) for text in _constraints(each)
        )
        return Parameter(
            name,
            self.type_of(schema),
            default,
            ", ".join(constraints),
            str(schema.get("description", "")),
        )

    def type_of(self, schema: Schema) -> str:
        """The type in a word: `integer`, `string or null`, `list of number`, `"a" | "b"`."""
        kinds = list(dict.fromkeys(self._kind(each) for each in self.alternatives(schema)))
        return " or ".join(kinds) or "any"

    def _kind(self, schema: Schema) -> str:
        if "const" in schema:
            return _json(schema["const"])
        if "enum" in schema:
            return " | ".join(_json(each) for each in schema["enum"])
        kind = str(schema.get("type", "any"))
        if kind == "array":
            items = schema.get("items")
            return f"list of {self.type_of(items)}" if isinstance(items, dict) and items else "list"
        if kind == "string" and "format" in schema:
            return str(schema["format"])
        return kind


def _constraints(schema: Schema) -> Iterator[str]:
    yield from (words.format(schema[key]) for key, words in _BOUNDS if key in schema)
    for suffix, noun in _COUNTS:
        least, most = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
        if least is not None and most is not None:
            yield f"{least} {noun}s" if least == most else f"{least} to {most} {noun}s"
        elif least is not None:
            yield f"at least {least} {noun}{'' if least == 1 else 's'}"
        elif most is not None:
            yield f"at most {most} {noun}{'' if most == 1 else 's'}"
    if schema.get("uniqueItems"):
        yield "no item twice"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
