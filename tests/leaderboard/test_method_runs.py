"""Which runs a row averages."""

from __future__ import annotations

from kdbench.leaderboard.method_runs import MethodRuns, by_method
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import Excluded
from kdbench.results.record import Fingerprint
from tests.leaderboard.evidence import Made, digest, make
from tests.leaderboard.ranked import evidence

OLD, NEW = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"


def split(*made: Made) -> tuple[list[MethodRuns], list[Excluded]]:
    return by_method([evidence(one) for one in made])


def seeds(runs: MethodRuns) -> list[int]:
    return [run.record.spec.seed for run in runs.finished]


def test_a_row_is_a_method_with_its_parameters_as_given() -> None:
    methods, excluded = split(
        make("kd", seed=2), make("kd", seed=0), make("ce"), make("kd", params={"temperature": 8, "alpha": 0.5})
    )
    assert [(one.title, seeds(one)) for one in methods] == [
        ("ce", [0]), ("kd (alpha=0.5, temperature=8)", [0]), ("kd", [0, 2]),
    ]  # fmt: skip
    assert excluded == []


def test_an_older_source_of_a_method_is_excluded() -> None:
    [one], [excluded] = split(
        make("mine", seed=0, source=digest("old"), finished=OLD),
        make("mine", seed=1, source=digest("new"), finished=NEW),
    )
    assert seeds(one) == [1]
    assert excluded.reason == "another source of method mine than the one that is ranked"


def test_the_installed_source_is_ranked_even_if_another_was_run_later() -> None:
    here = load_plugins().methods.get("kd").source
    [one], [excluded] = split(
        make("kd", seed=0, source=here, finished=OLD), make("kd", seed=1, source=digest("other"), finished=NEW)
    )
    assert (seeds(one), excluded.method) == ([0], "kd")


def test_part_of_a_run_with_the_installed_source_does_not_push_whole_ones_of_another_away() -> None:
    here = load_plugins().methods.get("kd").source
    whole = [make("kd", seed=seed, source=digest("other"), finished=OLD) for seed in (0, 1, 2)]
    part = make("kd", seed=3, source=here, tasks=["clean"], finished=NEW)
    [one], [excluded] = split(*whole, part)
    assert (seeds(one), excluded.run_id) == ([0, 1, 2], part.record.run_id)


def test_sources_that_compute_the_same_are_averaged() -> None:
    """By their fingerprints, within what other processors round otherwise."""
    first, second, third = (
        made.changed(fingerprint=Fingerprint(version=1, control=[1.0, 0.5], losses={"clean": losses}))
        for made, losses in (
            (make("mine", seed=0, source=digest("old"), finished=OLD), [2.0, 1.0]),
            (make("mine", seed=1, source=digest("new"), finished=NEW), [2.0, 1.0001]),
            (make("mine", seed=2, source=digest("third"), finished=OLD), [2.0, 1.1]),
        )
    )
    [one], [excluded] = split(first, second, third)
    assert seeds(one) == [0, 1]
    assert (excluded.run_id, excluded.reason) == (
        third.record.run_id, "another source of method mine than the one that is ranked"
    )  # fmt: skip


def test_runs_of_another_recipe_parameters_or_checkpoint_are_not_averaged() -> None:
    made = make("mine", seed=1, finished=OLD)
    spec = made.record.spec
    longer = {**spec.recipes, "clean": spec.recipes["clean"].model_copy(update={"epochs": 99})}
    tuned = {**spec.params, "clean": {"alpha": 2}}
    [one], excluded = split(
        make("mine", finished=NEW),
        made.changed(spec=spec.model_copy(update={"recipes": longer})),
        made.changed(spec=spec.model_copy(update={"params": tuned})),
        make("mine", seed=2, finished=OLD).changed(checkpoint_rule="best-on-test"),
    )
    assert seeds(one) == [0]
    assert [one.reason for one in excluded] == [
        "another training recipe under condition clean than the one that is ranked",
        "other resolved parameters under condition clean than the ones that are ranked",
        "checkpoint rule best-on-test; here it is last",
    ]


def test_a_run_of_fewer_conditions_is_averaged() -> None:
    [one], excluded = split(make("mine"), make("mine", seed=1, conditions=["clean"]))
    assert (seeds(one), excluded) == ([0, 1], [])


def test_of_two_runs_of_a_seed_the_finished_one_with_more_scores_that_is_newer_counts() -> None:
    part, whole = make("a", tasks=["clean"], finished=NEW), make("a", finished=OLD)
    lost = make("a", finished=NEW, failed="diverged")
    [one], excluded = split(part, whole, lost)
    assert [run.record for run in one.finished] == [whole.record]
    assert one.failed == ()
    assert [each.reason for each in excluded] == [f"seed 0 once more: run {whole.record.run_id} counts"] * 2
    newer = whole.changed(provenance=whole.record.provenance.model_copy(update={"finished": NEW}))
    [one], _ = split(newer, whole)
    assert one.finished[0].record == newer.record


def test_failed_runs_are_kept_by_themselves() -> None:
    [one], excluded = split(make("a", seed=1, failed="diverged"), make("a", seed=0))
    assert (seeds(one), [run.record.spec.seed for run in one.failed], excluded) == ([0], [1], [])
