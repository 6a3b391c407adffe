"""The extension contract: every hook a plugin may implement.

A plugin is an installed package with an entry point in the group ``kdbench`` that names a module. In that module a
function decorated with ``kdbench.hookimpl`` and named as below is called once, when plugins are loaded (observers:
when what they observe happens). No hook runs inside training or evaluation of a method that is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

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

hookspec = pluggy.HookspecMarker("kdbench")
hookimpl = pluggy.HookimplMarker("kdbench")


@hookspec
def kdbench_register_methods() -> Iterable[MethodSpec]:  # type: ignore[empty-body]  # a hook spec has no body
    """Training methods, as made by the ``kdbench.method`` decorator."""


@hookspec
def kdbench_register_tasks() -> Iterable[Task]:  # type: ignore[empty-body]  # as above
    """Measurements: instances of classes derived from ``kdbench.Task``."""


@hookspec
def kdbench_register_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]  # as above
    """Image sets to train on or to test out of distribution on."""


@hookspec
def kdbench_register_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]  # as above
    """Network architectures: pixels in [0, 1] to logits."""


@hookspec
def kdbench_register_label_noises() -> Iterable[LabelNoiseSpec]:  # type: ignore[empty-body]  # as above
    """Label noises: pure functions of labels, a rate and a generator, or labels that exist already."""


@hookspec
def kdbench_register_attacks() -> Iterable[AttackSpec]:  # type: ignore[empty-body]  # as above
    """Attacks, as made by the ``kdbench.attack`` decorator; what they return is clipped and judged by kdbench."""


@hookspec
def kdbench_register_suites() -> Iterable[Path]:  # type: ignore[empty-body]  # as above
    """Suite files (TOML), in the format of those under ``kdbench/suites``."""


@hookspec
def kdbench_register_claims() -> Iterable[Claim]:  # type: ignore[empty-body]  # as above
    """What papers claim, for ``kdbench reproduce --claims``: data, checked only when it is asked for."""


@hookspec
def kdbench_register_reproductions() -> Iterable[Path]:  # type: ignore[empty-body]  # as above
    """Published tables and figures, for ``kdbench reproduce``: files ``<paper>/<item>.toml`` in the format of
    docs/reproduce.md, or folders of them."""


@hookspec
def kdbench_register_model_sources() -> Iterable[ModelSource]:  # type: ignore[empty-body]  # as above
    """Places of trained models, for ``kdbench evaluate NAME:WHAT``."""


@hookspec
def kdbench_register_trackers() -> Iterable[TrackerSpec]:  # type: ignore[empty-body]  # as above
    """Where log and scores of a run are sent as well, for ``kdbench run --track NAME``."""


@hookspec
def kdbench_record_written(record: Record, path: Path) -> None:
    """Observe a finished record after it is safely on disk at ``path``; what is raised here is reported, not fatal."""
