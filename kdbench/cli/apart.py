"""A command that measures with the plugins of third parties that it needs and no others, by its words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kdbench.plugin.loader import Plugins
    from kdbench.running.lineage import Lineage

AGAIN = "kdbench.cli:again"
ADDRESS = "://"


def evaluate_apart(
    source: str, suite: str | None, model: str | None, tasks: Sequence[str] | None, attacks: Sequence[str] | None
) -> None:
    """End the command as a process ended that has done it, where plugins are loaded that it does not need."""
    from kdbench.plugin.loader import load_plugins
    from kdbench.sources.opening import which

    plugins = load_plugins()
    found, what = which(source, plugins)
    lineage = _lineage(Path(what)) if found.name == "file" else None
    if "params" in found.options and found.name != "file":
        return  # it may bring a checkpoint of ours, of a method that is not known before it is fetched
    named = suite or (lineage.training.suite if lineage else None)
    _apart(plugins, [
        ("model source", found.name),
        *([("model", model)] if model else []),
        *_of(lineage),
        *_of_suites([named] if named else list(plugins.suites), plugins, tasks, attacks),
    ])  # fmt: skip


def record_apart(file: Path, checkpoint: str | None = None) -> None:
    """The same for a command that measures a record again."""
    from kdbench.errors import KdbenchError
    from kdbench.plugin.loader import load_plugins
    from kdbench.results.evidence import checkpoint_beside
    from kdbench.results.record import read_record
    from kdbench.running.isolated.needed import of_record

    plugins = load_plugins()
    try:
        record = read_record(file)
    except KdbenchError:
        return  # the command itself says what is wrong with it
    if record.evaluated is not None and checkpoint is not None and ADDRESS in checkpoint:
        return  # likewise
    beside = [checkpoint_beside(file, condition) for condition in record.checkpoints]
    lineages = map(_lineage, [Path(checkpoint)] if checkpoint is not None and ADDRESS not in checkpoint else beside)
    _apart(plugins, (name for part in (*map(_of, lineages), of_record(plugins, record)) for name in part))


def _apart(plugins: Plugins, names: Iterable[tuple[str, str]]) -> None:
    from kdbench.running.isolated.commands import command_apart

    status = command_apart(plugins, names, AGAIN)
    if status is not None:
        raise typer.Exit(status)


def _lineage(checkpoint: Path) -> Lineage | None:
    """Of a checkpoint of ours; None of what is none, which the command itself looks at."""
    from kdbench.checkpoints.formats import kind_of
    from kdbench.errors import KdbenchError
    from kdbench.running.loading import lineage_of
    from kdbench.training.checkpoint import load_checkpoint

    path = checkpoint.expanduser()
    try:
        if path.is_file() and kind_of(path) == "safetensors":
            return lineage_of(path, load_checkpoint(path)[1])
    except KdbenchError:
        pass
    return None


def _of(lineage: Lineage | None) -> Iterator[tuple[str, str]]:
    from kdbench.running.isolated.needed import of_lineage

    if lineage is not None:
        yield from of_lineage(lineage)


def _of_suites(
    names: Iterable[str], plugins: Plugins, tasks: Sequence[str] | None, attacks: Sequence[str] | None
) -> Iterator[tuple[str, str]]:
    """What they need, as far as they can be read: the command says of its own what is wrong with it."""
    from kdbench.errors import KdbenchError
    from kdbench.running.isolated.needed import of_measuring
    from kdbench.suites import load_suite

    for name in names:
        if name in plugins.suites:
            yield "suite", name
        try:
            yield from of_measuring(plugins, load_suite(name), tasks, attacks)
        except KdbenchError:
            continue
