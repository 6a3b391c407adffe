"""How long runs will take, by earlier records."""

from __future__ import annotations

from pathlib import Path

from kdbench.studies.cost import Times
from tests.leaderboard.evidence import Made, digits, make


def timed(made: Made, student: float, teacher: float, clean: float) -> Made:
    """The same with other seconds."""
    hashes, provenance = made.record.hashes, made.record.provenance
    [(_, trained)] = [item for item in hashes.students.items() if item[0] == "clean"]
    own = trained.model_copy(update={"seconds": teacher})
    networks = {"clean/teacher": own, "clean/student/start": own}
    students = {"clean": trained.model_copy(update={"seconds": student})}
    return made.changed(
        hashes=hashes.model_copy(update={"students": students, "networks": networks}),
        provenance=provenance.model_copy(update={"seconds": {"evaluate/clean/clean": clean}}),
    )


def test_times_are_medians_of_the_folders_own_records_then_of_the_published_ones(tmp_path: Path) -> None:
    for seed, seconds in enumerate((10.0, 12.0, 50.0)):
        timed(make(method="kd", seed=seed, conditions=["clean"]), seconds, 2 * seconds, 1.0).keep(tmp_path / "runs")
    timed(make(method="nrd", conditions=["clean"]), 70.0, 80.0, 9.0).publish(tmp_path / "published")
    times = Times(digits(), tmp_path / "runs", tmp_path / "published")
    assert times.sources() == []
    assert times.network("clean/student", "kd") == 12.0
    assert times.task("clean", "clean") == 1.0
    assert times.network("clean/teacher", "ce") == 24.0, "the suite's networks are the same for all methods"
    assert len(times.sources()) == 1
    assert times.network("clean/student/start", "nrd") == 80.0, "a network of a method's own is of that method"
    assert times.network("clean/student", "nrd") == 70.0
    [_, published] = times.sources()
    assert published.startswith(f"1 record in {tmp_path / 'published' / 'digits'} (")
    assert times.network("clean/student", "ce") is None
    changed = digits().model_copy(update={"changed": {"recipe.epochs": 300}})
    assert Times(changed, tmp_path / "runs", None).network("clean/student", "kd") is None
