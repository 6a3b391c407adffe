"""What comes with kdbench but its methods, registered like anybody's plugin."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kdbench import attacks, data, models, noise, sources, trackers
from kdbench.plugin.hookspecs import hookimpl
from kdbench.suites import builtin_suites
from kdbench.tasks import Task, builtin_tasks, tasks_on_request


@hookimpl
def kdbench_register_tasks() -> Iterable[Task]:
    return [*builtin_tasks(), *tasks_on_request()]


@hookimpl
def kdbench_register_datasets() -> Iterable[data.DatasetSpec]:
    return data.builtin_specs()


@hookimpl
def kdbench_register_models() -> Iterable[models.ModelSpec]:
    return models.builtin_specs()


@hookimpl
def kdbench_register_label_noises() -> Iterable[noise.LabelNoiseSpec]:
    return noise.builtin_specs()


@hookimpl
def kdbench_register_attacks() -> Iterable[attacks.AttackSpec]:
    return attacks.builtin_specs()


@hookimpl
def kdbench_register_suites() -> Iterable[Path]:
    return builtin_suites()


@hookimpl
def kdbench_register_model_sources() -> Iterable[sources.ModelSource]:
    return sources.builtin_sources()


@hookimpl
def kdbench_register_trackers() -> Iterable[trackers.TrackerSpec]:
    return trackers.builtin_trackers()
