"""A provider's parameters: their JSON Schema, and input checked, completed and parsed by it."""

import warnings
from inspect import Parameter
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import PydanticJsonSchemaWarning
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from runcast.provider.errors import InvalidProvider
from runcast.provider.violations import Wording
from runcast.server.model.errors import InvalidArgument

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CONFIG = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    ser_json_bytes="base64",
    val_json_bytes="base64",
)
_Signature = dict[str, tuple[Any, Any]]


class Parameters:
    """Made of names with annotation and default, and of what the docstring says of each.

    `schema` is a JSON Schema 2020-12 object; `names` are in the order of the signature.
    """

    def __init__(self, function: str, parameters: _Signature, descriptions: dict[str, str]) -> None:
        self.names = tuple(parameters)
        model, self.schema = _build(function, parameters, descriptions)
        self._model = model
        self._parse = model.__pydantic_validator__.validate_json
        self._dump = model.__pydantic_serializer__.to_json
        self._made_anew = any(field.default_factory for field in model.model_fields.values())
        self._known_defaults = {} if self._made_anew else self._defaults()
        self._wording = Wording(self.schema)

    def validate(self, text: str) -> str:
        """The input with defaults filled in, as compact JSON in the order of the signature.

        Values are written as their types write them (`"5"` for a whole number becomes `5`), unless a type does not read
        back what it writes, such as a secret: then they stay as given. Empty text counts as `{}`. InvalidArgument with
        one violation for each wrong field.
        """
        if not self.names and text in ("", "{}"):
            return "{}"
        given = _object(text if text.strip() else "{}")
        if not self.names and not given:
            return "{}"
        given = (self._defaults() if self._made_anew else self._known_defaults) | given
        model = self._read(to_json(given), given)
        try:
            written = self._dump(model, by_alias=True, warnings=False)
        except PydanticSerializationError as error:
            raise InvalidArgument.of("input", f"cannot be kept as JSON: {error}") from None
        again = self._again(written)
        if again == model.__dict__:
            return written.decode()
        return self._as_given(from_json(written), given, model.__dict__, again)

    def check_given(self, text: str) -> None:
        """The same of an input that is to be completed later: parameters may be missing, and nothing is written."""
        given = _object(text if text.strip() else "{}")
        defaults = self._defaults() if self._made_anew else self._known_defaults
        self._read(to_json(defaults | given), given, partial=True)

    def parse(self, text: str) -> dict[str, Any]:
        """The arguments for the function, of its types; InvalidArgument as `validate`."""
        if not self.names and text == "{}":
            return {}
        try:
            model = self._parse(text)
        except ValidationError:
            model = self._read(text.encode(), _object(text))
        return dict(zip(self.names, model.__dict__.values(), strict=True))

    def _read(self, text: bytes, given: dict[str, Any], *, partial: bool = False) -> Any:
        try:
            return self._parse(text)
        except ValidationError as error:
            wrong = self._wording.violations(error, given, partial=partial)
            if partial and not wrong:
                return None
            raise InvalidArgument(wrong) from None
        except Exception as error:
            message = (
                f"cannot be checked: the provider's own validation raised {type(error).__name__}: {error}"
            )
            raise InvalidArgument.of("input", message) from error

    def _defaults(self) -> dict[str, Any]:
        """As JSON data: they are checked like what is given, since they are stored with it."""
        model = self._model.model_construct()
        values = model.__dict__
        defaults: dict[str, Any] = from_json(self._dump(model, by_alias=True, warnings=False))
        for name, field in zip(self.names, self._model.model_fields, strict=True):
            if isinstance(secret := values.get(field), SecretStr | SecretBytes):
                defaults[name] = to_jsonable_python(secret.get_secret_value())
        return defaults

    def _again(self, written: bytes) -> dict[str, Any] | None:
        try:
            fields: dict[str, Any] = self._parse(written).__dict__
        except Exception:  # noqa: BLE001 - whatever it raises, it does not read back
            return None
        return fields

    def _as_given(
        self,
        written: dict[str, Any],
        given: dict[str, Any],
        values: dict[str, Any],
        again: dict[str, Any] | None,
    ) -> str:
        for name, field in zip(self.names, values, strict=True):
            if name in given and (again is None or again[field] != values[field]):
                written[name] = given[name]
        return to_json(written).decode()


def _object(text: str) -> dict[str, Any]:
    """The input as plain data, checked to be strict JSON."""
    try:
        given = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:
        raise InvalidArgument.of("input", f"must be a JSON object, but is not JSON: {error}") from None
    if not isinstance(given, dict):
        shown = text.strip() if len(text) < 60 else type(given).__name__
        raise InvalidArgument.of(
            "input", f"must be a JSON object with a field for each parameter, but is {shown}"
        )
    if b"Infinity" in to_json(given, inf_nan_mode="constants") and "Infinity" not in text:
        raise InvalidArgument.of("input", "holds a number that is too large for a floating-point one")
    return given


def _build(
    function: str, parameters: _Signature, descriptions: dict[str, str]
) -> tuple[type[BaseModel], dict[str, Any]]:
    try:
        return _create(function, parameters, descriptions)
    except Exception:
        for name, parameter in parameters.items():  # which of them is it?
            try:
                _create(function, {name: parameter}, descriptions)
            except Exception as error:
                reason = str(error).splitlines()[0]
                raise InvalidProvider(f"{function}(): {name} cannot be a parameter: {reason}") from error
        raise


def _create(
    function: str, parameters: _Signature, descriptions: dict[str, str]
) -> tuple[type[BaseModel], dict[str, Any]]:
    """Fields are called p0, p1 … and known by their alias, so that no name collides with one of pydantic's."""
    fields: dict[str, Any] = {}
    for number, (name, (annotation, default)) in enumerate(parameters.items()):
        text = None if _described(annotation, default) else descriptions.get(name)
        named = Field(alias=name, description=text) if text else Field(alias=name)
        fields[f"p{number}"] = (Annotated[annotation, named], ... if default is Parameter.empty else default)
    model = create_model(function, __config__=_CONFIG, **fields)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        schema = model.model_json_schema()
    schema.pop("title", None)
    return model, {"$schema": DIALECT, "properties": {}, **schema}


def _described(annotation: Any, default: Any) -> bool:
    known = [default, *get_args(annotation)]
    return any(isinstance(info, FieldInfo) and info.description for info in known)
