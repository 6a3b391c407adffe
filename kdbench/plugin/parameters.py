"""The parameters of what a plugin's author wrote: keyword-only arguments of a function or class as a schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from kdbench.errors import KdbenchError, unknown_name
from kdbench.specs import first_problem


def parameters_of(owner: str, target: Callable[..., Any], **more: Any) -> type[BaseModel]:
    """A pydantic model of the keyword-only parameters of ``target``, with its annotations as their ranges.

    Args:
        owner: whose they are, in an error: "method 'kd'".
        target: a function, or a class whose ``__init__`` has them.
        more: further fields, name to (type, default).

    Raises:
        KdbenchError: a parameter without a type or a default, one of the name of a further field, or an annotation
            that can't be read.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise KdbenchError(f"{owner}: annotation of a parameter: {error}", "import it at run time") from None
    fields: dict[str, Any] = dict(more)
    for parameter in signature.parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.annotation is inspect.Parameter.empty or parameter.default is inspect.Parameter.empty:
            raise KdbenchError(
                f"{owner}: parameter '{parameter.name}' has no type or no default", "write it as `name: float = 0.5`"
            )
        if parameter.name in more:
            raise KdbenchError(f"{owner}: parameter '{parameter.name}' is the core's", "give yours another name")
        fields[parameter.name] = (parameter.annotation, parameter.default)
    config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)
    return create_model(f"{owner} parameters", __config__=config, **fields)


def validated(owner: str, word: str, model: type[BaseModel], params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` with defaults filled in, checked against a model of parameters.

    Args:
        owner: kind and name, as ``kdbench describe`` takes them: "method 'kd'".
        word: what a parameter is called: "parameter".
        model: as ``parameters_of`` makes it.
        params: name to value.

    Raises:
        KdbenchError: an unknown one, with the nearest right name, or a value out of range.
    """
    command = f"`kdbench describe {owner}`".replace("'", "")
    for key in params:
        if key not in model.model_fields:
            raise unknown_name(word, key, model.model_fields, f"{command} lists them")
    try:
        found: dict[str, Any] = model.model_validate(dict(params)).model_dump(mode="json")
    except ValidationError as error:
        raise KdbenchError(f"{owner}, {word} {first_problem(error)}", f"{command} shows ranges") from None
    return found


def parse_assignments(where: str, texts: Iterable[str]) -> dict[str, Any]:
    """``name=value`` texts as a mapping; a value that is JSON is read as such, anything else is text.

    >>> parse_assignments("--set", ["steps=50", "objective=dlr"])
    {'steps': 50, 'objective': 'dlr'}
    """
    parameters: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise KdbenchError(f"{where} got '{text}'", f"write it as {where} name=value")
        if name in parameters:
            raise KdbenchError(f"{where} gives '{name}' twice", "give it one value")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters


def as_assignments(values: Mapping[str, Any]) -> list[str]:
    """``name=value`` texts that ``parse_assignments`` reads as these values.

    >>> as_assignments({"temperature": 8, "view": "strong", "name": "8"})
    ['temperature=8', 'view=strong', 'name="8"']
    """
    return [f"{name}={value if _is_plain(value) else json.dumps(value)}" for name, value in values.items()]


def _is_plain(value: Any) -> bool:
    """Whether this is text that is read as text, and not as another JSON value."""
    if not isinstance(value, str):
        return False
    try:
        json.loads(value)
    except ValueError:
        return True
    return False
