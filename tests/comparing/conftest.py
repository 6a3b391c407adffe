from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node, StudyPlan
from kdbench.studies.study import make_study
from tests.leaderboard.evidence import Made

Keep = Callable[[Iterable[Made], Iterable[Made]], StudyFolder]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def keep_study(runs: Path) -> Keep:
    """Keeps records as the finished runs of study ``s``, and plans others that have not begun."""

    def keep(made: Iterable[Made], missing: Iterable[Made] = ()) -> StudyFolder:
        here = {one.keep(runs): one for one in made}
        all_runs = {**here, **{runs / one.record.run_id / "record.json": one for one in missing}}
        nodes = [
            Node(
                key=f"run-{one.record.run_id}", kind="run", method=one.record.spec.method,
                params=one.record.params_passed, seed=one.record.spec.seed, condition=None, role=None,
                path=path.relative_to(runs).as_posix(),
            )
            for path, one in all_runs.items()
        ]  # fmt: skip
        study = make_study("a test", {"name": "s", "methods": sorted({node.method for node in nodes})})
        folder = StudyFolder(runs, "s")
        suite = next(iter(all_runs.values())).record.spec.suite
        folder.write(StudyPlan(study=study, suite=suite, nodes=tuple(nodes)))
        return folder

    return keep
