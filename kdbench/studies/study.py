"""What a study asks for, as a frozen value: methods, parameters and seeds of one suite, and where they are computed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from kdbench.errors import KdbenchError, unknown_name
from kdbench.seeds import parse_seeds
from kdbench.specs import Name, Spec, first_problem
from kdbench.suites.changes import is_of_suite
from kdbench.toml_files import read_toml

MOST_RUNS = 100_000
"""Runs of one study: more is a mistake in it."""

ALL = "all"

Kind = TypeVar("Kind", bound=Spec)


class Request(NamedTuple):
    """One run that a study asks for."""

    method: str
    params: dict[str, Any]
    """As a user would give them, not resolved."""
    seed: int
    changes: dict[str, Any]
    """Values of the suite that are set by hand, as ``recipe.epochs``."""
    conditions: tuple[str, ...] | None = None
    """None: the study's, as for ``tasks``."""
    tasks: tuple[str, ...] | None = None


class OneRun(Spec):
    """A run of a study by itself, which is crossed with nothing but seeds."""

    method: str
    params: dict[str, Any] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    """Values of the suite that are set by hand, as ``"recipe.lr"``."""
    conditions: tuple[str, ...] | None = None
    """None: the study's, as for ``tasks``."""
    tasks: tuple[str, ...] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    """The only seed of this run; None: it is done with each of the study's."""


class Study(Spec):
    """Methods x parameters x seeds on one suite."""

    name: Name
    """Of the study and of its folder."""
    suite: str = "digits"
    """A suite's name, or the path of a TOML file."""
    methods: tuple[str, ...] = ()
    """Names; in a file ``"all"`` stands for every method that is installed."""
    runs: tuple[OneRun, ...] = ()
    """Runs that are listed one by one, beside those of ``methods``."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameter, or a value of the suite behind its table as ``"recipe.lr"``, to a value, or to a list of values that
    is crossed with all others. A table under a method's name is for that method alone; the others are for all."""
    zipped: dict[str, Any] = Field(default_factory=dict)
    """The same for lists that go together: their first values, their second values, ..."""
    conditions: tuple[str, ...] | None = None
    """None: all of the suite's, as for ``tasks``."""
    tasks: tuple[str, ...] | None = None
    attacks: tuple[str, ...] = ()
    executor: str = "local"
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads that torch computes with in each worker: part of what decides the bits, so the same on every engine."""
    compile: bool = True
    """Whether networks of long trainings are compiled where that pays, on a GPU."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which a training or a run ends as a failed one; none: no limit."""
    engine: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Executor to its own settings, as ``[engine.local]``."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        return parse_seeds(value) if isinstance(value, str) else [value] if isinstance(value, int) else value

    @field_validator("methods", "seeds", "conditions", "tasks", "attacks")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return None if values is None else tuple(dict.fromkeys(values))

    @field_validator("methods", mode="before")
    @classmethod
    def _methods(cls, value: Any) -> Any:
        return (value,) if value == ALL else value

    @model_validator(mode="after")
    def _something_to_run(self) -> Study:
        if not self.methods and not self.runs:
            raise KdbenchError("methods: found none, and no runs either", 'name some, as methods = ["kd"]')
        return self

    def with_methods(self, installed: Iterable[str]) -> Study:
        """The study with every installed method where it asks for all."""
        return self.model_copy(update={"methods": tuple(installed)}) if self.methods == (ALL,) else self

    def requests(self) -> list[Request]:
        """Every run, in order of seed, then method, then parameters: a study that is stopped has whole seeds.

        Raises:
            KdbenchError: lists that go together have different lengths, a table is of a method that the study has not,
                or there are more than ``MOST_RUNS`` runs.
        """
        for table in (self.parameters, self.zipped):
            for name, value in table.items():
                if isinstance(value, dict) and name not in self.methods:
                    raise unknown_name("method of the study", name, self.methods, f"study '{self.name}' has no such")
        choices = [(method, params) for method in self.methods for params in self._choices(method)]
        count = (len(choices) + len(self.runs)) * len(self.seeds)
        if count > MOST_RUNS:
            raise KdbenchError(f"study '{self.name}' has {count} runs, at most {MOST_RUNS}", "split it")
        crossed = [
            Request(method, {name: value for name, value in given.items() if not is_of_suite(name)}, seed,
                    {name: value for name, value in given.items() if is_of_suite(name)})
            for seed in self.seeds
            for method, given in choices
        ]  # fmt: skip
        return [*crossed, *self._listed()]

    def _listed(self) -> Iterator[Request]:
        for place, seed in enumerate(self.seeds):
            for one in self.runs:
                if one.seed is None or place == 0:
                    own = seed if one.seed is None else one.seed
                    yield Request(one.method, one.params, own, one.changes, one.conditions, one.tasks)

    def _choices(self, method: str) -> Iterator[dict[str, Any]]:
        crossed = _of(method, self.parameters)
        axes = [[{name: one} for one in _values(value)] for name, value in crossed.items()]
        together = {name: _values(value) for name, value in _of(method, self.zipped).items()}
        lengths = {name: len(values) for name, values in together.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise KdbenchError(f"study '{self.name}', lists that go together: {said} values", "give each as many")
        twice = sorted(crossed.keys() & together.keys())
        if twice:
            raise KdbenchError(f"study '{self.name}': parameter '{twice[0]}' is crossed and zipped", "name it once")
        if together:
            axes.append([dict(zip(together, row, strict=True)) for row in zip(*together.values(), strict=True)])
        for combination in itertools.product(*axes):
            yield {name: value for part in combination for name, value in part.items()}


def _of(method: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """What a table says of one method: what is for all, under what is for it alone."""
    general = {name: value for name, value in table.items() if not isinstance(value, dict)}
    return {**general, **table.get(method, {})}


def _values(value: Any) -> list[Any]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise KdbenchError("a parameter of the study has an empty list of values", "give one, or leave it out")
    return [one for place, one in enumerate(values) if one not in values[:place]]


def make_study(where: str, values: Mapping[str, Any]) -> Study:
    """A study from names and values; ``where`` they came from begins every message."""
    return read_values(where, Study, values)


def read_values(where: str, kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    """A table of a study as a value; ``where`` it came from begins every message.

    Raises:
        KdbenchError: a key that it has not, with the nearest right one, or a wrong value.
    """
    for key in values:
        if key not in kind.model_fields:
            raise unknown_name(f"key of {where}", key, kind.model_fields)
    try:
        return kind.model_validate(dict(values))
    except KdbenchError as error:
        raise KdbenchError(f"{where}: {error.message}", error.hint) from None
    except ValidationError as error:
        raise KdbenchError(f"{where}: {first_problem(error)}", "docs/scaling.md has an example") from None


def read_study(path: Path, **more: Any) -> Study:
    """A study from a TOML file; ``more`` replaces what the file says.

    A suite's file is found beside the study's. Raises ``KdbenchError`` for every mistake in the file, in one line.
    """
    values = {"name": path.stem, **read_toml(path, f"study {path}"), **more}
    suite = values.get("suite")
    if isinstance(suite, str) and suite.endswith(".toml") and "suite" not in more:
        values["suite"] = str(path.parent / suite)
    return make_study(f"study {path}", values)


def parse_sweep(texts: Iterable[str], methods: Sequence[str], parse: Any, *, where: str = "--set") -> dict[str, Any]:
    """``name=a,b`` and ``method.name=a,b`` texts as the table of a study; ``parse`` reads one ``name=value``.

    A name behind a table of suites, as ``recipe.lr``, is the suite's.
    """
    table: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise KdbenchError(f"{where} got '{text}'", f"write it as {where} name=a,b or {where} method.name=a,b")
        method, dot, parameter = ("", "", name) if is_of_suite(name) else name.partition(".")
        if dot and method not in methods:
            raise unknown_name("method of the study", method, methods, f"{where} {text}")
        values = [parse(where, [f"value={one}"])["value"] for one in _split(value)]
        found = values if len(values) > 1 else values[0]
        place, key = (table.setdefault(method, {}), parameter) if dot else (table, name)
        if key in place:
            raise KdbenchError(f"{where} gives '{name}' twice", f"give it all values at once: {where} {name}=a,b")
        place[key] = found
    return table


def _split(text: str) -> list[str]:
    """At commas outside brackets and quotes.

    >>> _split('1,[2,3],"a,b"')
    ['1', '[2,3]', '"a,b"']
    """
    return re.findall(r'(?:\[[^\]]*\]|"[^"]*"|[^,])+', text)
