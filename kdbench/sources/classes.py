"""How the outputs of a model are called: from an option, a file, or the model's own list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kdbench.data import DataFacts
from kdbench.errors import KdbenchError, unknown_name


def class_names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names that ``--classes`` gives, in the order of the model's outputs.

    A list, names with commas between, or a file: one name a line, or JSON (a list, or an object from the number of an
    output to its name).

    >>> class_names("cat, dog")
    ('cat', 'dog')

    Raises:
        KdbenchError: fewer than two names, or a file that is neither.
    """
    if given is None:
        return None
    names = list(given)
    if isinstance(given, str):
        path = Path(given).expanduser()
        names = _in_file(path) if "," not in given and path.is_file() else given.split(",")
    names = [name.strip() for name in names]
    if len(names) < 2 or not all(names):
        raise KdbenchError(
            f"--classes got {given!r}, expected a file or names with commas between", "name every output of the model"
        )
    return tuple(names)


def class_order(outputs: tuple[str, ...], data: DataFacts, *, strict: bool = True) -> tuple[str, ...] | None:
    """The names of the outputs where these must be put in order, None where they are in the data set's already.

    A model's own names that are as many as the data set's and others are no order: None as well, unless ``strict``.
    Raises ``KdbenchError`` where a class of the data set is missing.
    """
    if outputs == data.class_names:
        return None
    missing = [name for name in data.class_names if name not in outputs]
    if not missing:
        return outputs
    if not strict and len(outputs) == len(data.class_names):
        return None
    raise unknown_name(
        "class of the model",
        missing[0],
        outputs,
        f"'{data.name}' has it: name the model's outputs with --classes, or measure it on data with its classes",
    )


def _in_file(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return [line for line in text.splitlines() if line.strip()]
        read = json.loads(text)
        names = by_number(read) if isinstance(read, dict) else read
    except (OSError, ValueError) as error:
        raise KdbenchError(f"--classes {path} can't be read: {error}", "one name a line, or a JSON list") from None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise KdbenchError(f"--classes {path} is no list of names", "one name a line, or a JSON list")
    return list(names)


def by_number(names: dict[str, str]) -> list[str]:
    """An object from the number of an output to its name as a list; ``ValueError`` where a number is missing.

    >>> by_number({"1": "dog", "0": "cat"})
    ['cat', 'dog']
    """
    numbered = {int(number): name for number, name in names.items()}
    if sorted(numbered) != list(range(len(names))):
        raise ValueError(f"numbers of classes are not 0 to {len(names) - 1}")
    return [numbered[number] for number in range(len(numbered))]
