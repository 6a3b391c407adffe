from __future__ import annotations

from kdbench.trackers import score_names
from tests.leaderboard.evidence import make


def test_names_of_scores_leave_out_what_a_tasks_scores_have_alike() -> None:
    record = make().record
    budget = {"eps": 8 / 255, "step_size": 0.006, "steps": 10}
    scores = [
        score.model_copy(update={"setting": {**score.setting, **budget}})
        for score in record.scores
        if "source" in score.setting
    ]
    scores = [*scores, scores[0].model_copy(update={"metric": "m", "setting": {"step_size": 2 / 255, "rule": "any"}})]
    names = score_names(record.model_copy(update={"scores": scores[:-1]}))
    assert list(names) == [
        f"scores/clean/transfer/{metric} {source}"
        for source in ("teacher", "reference", "self")
        for metric in ("accuracy", "conditional_accuracy")
    ]
    assert list(names.values()) == scores[:-1]
    assert list(score_names(record.model_copy(update={"scores": scores[-1:]}))) == [
        "scores/clean/transfer/m step_size 2_255 any"
    ], "a slash would open a group"
