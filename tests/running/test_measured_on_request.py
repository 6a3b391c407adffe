"""Tasks that no suite plans, through a whole run: what they need is provided, and nobody objects to what they leave."""

from __future__ import annotations

from pathlib import Path

from kdbench.leaderboard.validate import validate
from kdbench.running.runner import record_path, run


def test_training_images_and_the_teacher_are_there_and_the_record_holds(tiny_suite: Path, tmp_path: Path) -> None:
    changes = {
        "recipe.epochs": 1, "conditions.sym-40.train_size": 100,
        "tasks.memorisation.settings.images": 40, "tasks.memorisation.settings.views": [1],
        "tasks.softmax_magnitude.settings.bins": 4, "watch.eps": 0.01, "watch.steps": 1, "watch.images": 10,
    }  # fmt: skip
    names = ["memorisation", "noisy_label", "softmax_magnitude"]
    record = run(str(tiny_suite), "ce", changes=changes, conditions=["sym-40"], tasks=names, out=tmp_path / "runs")
    assert (record.status, record.error) == ("finished", None)
    [all_of] = record.select("memorisation", "accuracy", views=0, images="all")
    assert all_of.n == 40
    networks = {score.setting["network"] for score in record.select("softmax_magnitude", "output_share")}
    assert networks == {"student", "teacher"}
    problems = validate(record_path(record, tmp_path / "runs"))
    assert [one.message for one in problems if one.severity == "error"] == []
