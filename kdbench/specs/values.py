"""Frozen values with one canonical form and a hash."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from kdbench.bounds import LONGEST_NAME, LONGEST_TEXT
from kdbench.errors import plain

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)]
"""A name that is also a folder's."""


def canonical(values: Any) -> str:
    """JSON text of values: sorted keys, no spaces."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Spec(BaseModel):
    """A frozen value; unknown fields are refused. Field docstrings document the keys of suite files."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        str_max_length=LONGEST_TEXT,
    )

    def canonical_json(self) -> str:
        """The one JSON text of this value: sorted keys, no spaces."""
        return canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]


class GrowingSpec(Spec):
    """A specification that gained fields after the first records: at their defaults they are left out of the canonical
    JSON, so that the hashes of what does not use them hold."""

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if name not in self.later or not self._is_default(name)}

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)


def first_problem(error: ValidationError) -> str:
    """The first finding of a validation error in one line: field, what is wrong, what was found."""
    problem = error.errors(include_url=False)[0]
    where = plain(".".join(str(part) for part in problem["loc"]) or "value")
    message = plain(problem["msg"].removeprefix("Value error, "), 400)
    found = "" if isinstance(problem.get("input"), dict) else f", found {plain(repr(problem.get('input')), 120)}"
    return f"{where}: {message[0].lower()}{message[1:]}{found}"
