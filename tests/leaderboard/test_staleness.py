"""A record whose method's source changed: is what it computes another thing?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.leaderboard.staleness import computation, marked
from kdbench.leaderboard.validate import validate
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Fingerprint, Record
from kdbench.running.fingerprint import VERSION, control, losses
from tests.leaderboard.evidence import Made, digest, digits, make
from tests.leaderboard.ranked import board, evidence, row

KD = load_plugins().methods.get("kd")
USUAL = KD.validate({})
ANOTHER = "the source of 'kd' here is another one"


def with_fingerprint(made: Made, alpha: float = USUAL["alpha"], **changes: object) -> Made:
    """A record of kd by another source, with the fingerprint of an ``alpha`` that its parameters may not have."""
    spec = made.record.spec
    params = dict.fromkeys(spec.params, USUAL)
    noises = {name: digits().condition(name).noise for name in params}
    found = Fingerprint(
        version=VERSION,
        control=control(),
        losses={name: losses(KD, {**USUAL, "alpha": alpha}, noise) for name, noise in noises.items()},
    )
    spec = spec.model_copy(update={"params": params, "method_source": digest("an older file")})
    return made.changed(spec=spec, fingerprint=found.model_copy(update=changes))


def test_another_source_that_computes_the_same_is_not_stale() -> None:
    made = with_fingerprint(make("kd"))
    assert computation(made.record, KD).verdict == "same"
    assert marked(evidence(made)).remarks == ()


def test_another_source_that_computes_something_else_is_stale_on_the_row_and_the_board(tmp_path: Path) -> None:
    """6 of 30 records had another source, and whether their numbers still hold could not be told."""
    made = [with_fingerprint(make("kd", seed=seed), alpha=0.8) for seed in (0, 1)]
    found = board(tmp_path, *made, make("b"))
    [remark] = row(found, "kd").remarks
    assert remark.startswith("stale: the source of 'kd' here is another one and computes something else (clean: loss ")
    assert remark.endswith(" (seed 0, 1)")
    assert "in epoch 1 of the short training, recorded" in remark
    assert f"kd: {remark}." in found.notes
    assert row(found, "b").remarks == ()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (make("kd"), ANOTHER),
        (with_fingerprint(make("kd")), f"{ANOTHER}; by the record's fingerprint it computes the same"),
        (with_fingerprint(make("kd"), version=VERSION + 1), f"{ANOTHER}; whether it computes the same is not known: "
         f"its fingerprint is of version {VERSION + 1}, here it is {VERSION}"),
        (with_fingerprint(make("kd"), control=[1.0] * 10), f"{ANOTHER}; whether it computes the same is not known: "
         "cross-entropy by itself gives other losses with the torch and kdbench of here"),
    ],
    ids=["no fingerprint", "same", "version", "control"],
)  # fmt: skip
def test_validate_says_what_is_known(tmp_path: Path, made: Made, message: str) -> None:
    found = [problem for problem in validate(made.publish(tmp_path)) if problem.field == "spec.method_source"]
    assert [(problem.message, problem.severity) for problem in found] == [(message, "warning")]


def test_a_source_that_refuses_the_recorded_parameters_computes_something_else() -> None:
    made = with_fingerprint(make("kd"))
    gone = {name: {**USUAL, "gone": 1} for name in made.record.spec.params}
    found = computation(made.changed(spec=made.record.spec.model_copy(update={"params": gone})).record, KD)
    assert found.verdict == "other"
    assert "clean: KdbenchError: no parameter named 'gone'" in found.why


def test_parameters_that_would_take_for_ever_are_not_tried() -> None:
    method = load_plugins().methods.get("cni")
    made = make("cni")
    params = {name: {**method.validate({}), "draws": 10**9} for name in made.record.spec.params}
    recorded = Fingerprint(version=VERSION, control=control(), losses={name: [1.0] for name in params})
    record = made.changed(spec=made.record.spec.model_copy(update={"params": params}), fingerprint=recorded).record
    found = computation(record, method)
    assert (found.verdict, found.why) == ("not known", "parameter draws = 1000000000 is too large to be tried")


def test_a_fingerprint_of_other_conditions_than_the_run_is_refused() -> None:
    record = with_fingerprint(make("kd")).record
    assert Record.model_validate_json(record.to_json()) == record
    assert record.fingerprint is not None
    part = record.fingerprint.model_copy(update={"losses": {"clean": [1.0]}})
    with pytest.raises(ValueError, match=r"fingerprint is of \['clean'\], the run of \['clean', 'sym-40'\]"):
        Record.model_validate_json(record.model_copy(update={"fingerprint": part}).to_json())
