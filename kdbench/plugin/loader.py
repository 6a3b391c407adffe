"""Find plugins by entry point, load each in isolation, and sort what they bring into registries."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from kdbench.errors import KdbenchError, unknown_name
from kdbench.plugin import before, hookspecs
from kdbench.plugin.exits import deaths_are_said, exits_are_raised
from kdbench.plugin.registry import Registry
from kdbench.standard_output import others_on_stderr

if TYPE_CHECKING:
    from kdbench.attacks.spec import AttackSpec
    from kdbench.claims import Claim
    from kdbench.data import DatasetSpec
    from kdbench.methods.method import MethodSpec
    from kdbench.models import ModelSpec
    from kdbench.noise import LabelNoiseSpec
    from kdbench.results.record import Record
    from kdbench.sources import ModelSource
    from kdbench.tasks import Task
    from kdbench.trackers import TrackerSpec

GROUP = "kdbench"
CHOSEN = "KDBENCH_PLUGINS"
"""Environment variable with the plugins of others that are loaded, by their names or their distributions' and with
commas between them; empty: all."""
NONE = "none"
"""Its value for none."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names become folders."""
REPRODUCTIONS = "kdbench_register_reproductions"


@dataclasses.dataclass(frozen=True)
class Failure:
    """A plugin, or one hook of it, that was left out: whose it is and what went wrong."""

    plugin: str
    origin: str
    error: str


@dataclasses.dataclass
class Plugins:
    """Everything that the installed plugins brought, and those that failed."""

    manager: pluggy.PluginManager
    methods: Registry[MethodSpec] = dataclasses.field(default_factory=lambda: Registry("method"))
    tasks: Registry[Task] = dataclasses.field(default_factory=lambda: Registry("task"))
    datasets: Registry[DatasetSpec] = dataclasses.field(default_factory=lambda: Registry("dataset"))
    models: Registry[ModelSpec] = dataclasses.field(default_factory=lambda: Registry("model"))
    label_noises: Registry[LabelNoiseSpec] = dataclasses.field(default_factory=lambda: Registry("label noise"))
    attacks: Registry[AttackSpec] = dataclasses.field(default_factory=lambda: Registry("attack"))
    suites: Registry[Path] = dataclasses.field(default_factory=lambda: Registry("suite"))
    claims: Registry[Claim] = dataclasses.field(default_factory=lambda: Registry("claim"))
    reproductions: Registry[Path] = dataclasses.field(default_factory=lambda: Registry("reproduction"))
    model_sources: Registry[ModelSource] = dataclasses.field(default_factory=lambda: Registry("model source"))
    trackers: Registry[TrackerSpec] = dataclasses.field(default_factory=lambda: Registry("tracker"))
    loaded: dict[str, str] = dataclasses.field(default_factory=dict)
    failures: list[Failure] = dataclasses.field(default_factory=list)

    def registries(self) -> list[Registry[Any]]:
        found: tuple[Registry[Any], ...] = (self.methods, self.tasks, self.datasets, self.models, self.label_noises)
        return [*found, self.attacks, self.suites, self.claims, self.reproductions, self.model_sources, self.trackers]

    def others(self) -> set[str]:
        """Distributions of third parties whose code was imported, also those that were left out."""
        origins = {*self.loaded.values(), *(failure.origin for failure in self.failures)}
        return {origin.partition(" ")[0] for origin in origins} - {GROUP}

    def record_written(self, record: Record, path: Path) -> list[Failure]:
        """Tell every observer that ``record`` is on disk; returns the observers that raised."""
        failures = []
        for implementation in self.manager.hook.kdbench_record_written.get_hookimpls():
            try:
                arguments = {"record": record, "path": path}
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:  # an observer's fault must not cost anyone their record
                origin = self.loaded.get(implementation.plugin_name, implementation.plugin_name)
                failures.append(Failure(implementation.plugin_name, origin, _describe(error)))
        return failures


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, KdbenchError) else f"{type(error).__name__}: {text}"


def _contracts() -> dict[str, tuple[str, type]]:
    """Hook name to the registry it fills and the type its entries must have."""
    from kdbench.attacks.spec import AttackSpec
    from kdbench.claims import Claim
    from kdbench.data import DatasetSpec
    from kdbench.methods.method import MethodSpec
    from kdbench.models import ModelSpec
    from kdbench.noise import LabelNoiseSpec
    from kdbench.sources import ModelSource
    from kdbench.tasks import Task
    from kdbench.trackers import TrackerSpec

    return {
        "kdbench_register_methods": ("methods", MethodSpec),
        "kdbench_register_tasks": ("tasks", Task),
        "kdbench_register_datasets": ("datasets", DatasetSpec),
        "kdbench_register_models": ("models", ModelSpec),
        "kdbench_register_label_noises": ("label_noises", LabelNoiseSpec),
        "kdbench_register_attacks": ("attacks", AttackSpec),
        "kdbench_register_suites": ("suites", Path),
        "kdbench_register_claims": ("claims", Claim),
        REPRODUCTIONS: ("reproductions", Path),
        "kdbench_register_model_sources": ("model_sources", ModelSource),
        "kdbench_register_trackers": ("trackers", TrackerSpec),
    }


def _entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    """Those of kdbench itself, and of others what ``CHOSEN`` leaves, in a fixed order.

    Raises:
        KdbenchError: it names a plugin that is not installed.
    """
    found = importlib.metadata.entry_points(group=GROUP)
    # A distribution seen twice on sys.path (an editable install next to a wheel) is still one plugin.
    unique = {(point.name, point.value, _origin(point)): point for point in found}
    every = sorted(unique.values(), key=lambda point: (_origin(point), point.name))
    text = os.environ.get(CHOSEN, "").strip()
    if not text:
        return every
    names = {name.strip() for name in text.split(",") if name.strip() and text != NONE}
    others = [point for point in every if not _is_ours(point)]
    known = {name for point in others for name in (point.name, _distribution(point))}
    for name in sorted(names - known):
        raise unknown_name(f"plugin (of {CHOSEN})", name, known, f"write {NONE} for none of them")
    return [one for one in every if _is_ours(one) or names & {one.name, _distribution(one)}]


def _is_ours(point: importlib.metadata.EntryPoint) -> bool:
    return _distribution(point) == GROUP


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else ""


def _load(point: importlib.metadata.EntryPoint) -> Any:
    """The module that an entry point names."""
    module = re.split(r"[:\[]", point.value)[0].strip()
    if not all(part.isidentifier() for part in module.split(".")):
        raise KdbenchError(
            f"its entry point names '{point.value}', which is no Python module", "a dash is written '_' there"
        )
    return point.load()


def _origin(point: importlib.metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"


def _named(point: importlib.metadata.EntryPoint) -> str:
    return f"plugin '{point.name}' of {_origin(point)}"


@contextlib.contextmanager
def _guarded(point: importlib.metadata.EntryPoint) -> Iterator[None]:
    with others_on_stderr(), deaths_are_said(_named(point)), exits_are_raised():
        yield


@functools.cache
def load_plugins() -> Plugins:
    """Load every installed plugin once; one that fails is noted in ``failures`` and takes nobody down.

    A plugin that raises or ends the process at import, misspells a hook, takes arguments a hook has not, returns
    something other than what the hook asks for, or changes settings or functions of torch is left out whole, so that
    nothing half-registered can be used; what it changed is undone. One whose import ends the process by a signal is
    named on standard error.
    """
    contracts = _contracts()
    from kdbench.shared_state import SharedState

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins, shared = Plugins(manager), SharedState.take()
    for point in sorted(_entry_points(), key=lambda point: not _is_ours(point)):
        if not _is_ours(point):
            before.others_are_imported()
        origin = _origin(point)
        name = f"{origin.partition(' ')[0]}:{point.name}"
        try:
            with contextlib.nullcontext() if _is_ours(point) else _guarded(point):
                manager.register(_load(point), name=name)
                manager.check_pending()
                brought = _collect(manager, name, contracts)
            shared.check("it")
        except (Exception, SystemExit) as error:  # a third party's import may raise anything
            shared.undo()
            if manager.has_plugin(name):
                manager.unregister(name=name)
            plugins.failures.append(Failure(point.name, origin, _describe(error)))
            continue
        except KeyboardInterrupt:
            warnings.warn(f"{_named(point)} was being imported: --no-plugins leaves it out", stacklevel=2)
            raise
        plugins.loaded[name] = origin
        for kind, key, entry in brought:
            getattr(plugins, kind).add(key, entry, origin)
    if plugins.failures:
        broken = "; ".join(f"{failure.origin}: {failure.error}" for failure in plugins.failures)
        for registry in plugins.registries():
            registry.notes = f"; left out because they failed to load: {broken}"
    return plugins


def _collect(
    manager: pluggy.PluginManager, plugin: str, contracts: Mapping[str, tuple[str, type]]
) -> list[tuple[str, str, Any]]:
    """Everything one plugin registers, checked against the types its hooks promise."""
    brought: list[tuple[str, str, Any]] = []
    for hook, (kind, expected) in contracts.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin_name != plugin:
                continue
            entries = implementation.function()
            if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
                raise KdbenchError(f"{hook} returned {type(entries).__name__}", f"return a list of {expected.__name__}")
            listed: Iterable[Any] = _files(entries) if hook == REPRODUCTIONS else entries
            for entry in listed:
                if not isinstance(entry, expected):
                    raise KdbenchError(
                        f"{hook} returned a {type(entry).__name__}", f"each item must be a {expected.__name__}"
                    )
                key = entry.stem if isinstance(entry, Path) else str(getattr(entry, "name", ""))
                if hook == REPRODUCTIONS and isinstance(entry, Path):
                    key = f"{entry.parent.name}/{key}"
                if not all(NAME.fullmatch(part) for part in key.split("/")):
                    raise KdbenchError(f"{hook} brought the name '{key}'", "letters, digits, '.', '_' and '-' only")
                brought.append((kind, key, entry))
    return brought


def _files(entries: Iterable[Any]) -> Iterator[Any]:
    """What is brought, with the files ``<paper>/<item>.toml`` of a folder in its place."""
    for entry in entries:
        if isinstance(entry, Path) and entry.is_dir():
            yield from sorted(entry.glob("*/*.toml"))
        else:
            yield entry
