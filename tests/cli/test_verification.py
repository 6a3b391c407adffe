from __future__ import annotations

from kdbench.cli.verification import every_line, summary
from kdbench.leaderboard.agreement import Agreement, AgreementVerdict
from kdbench.leaderboard.verify import Verification
from kdbench.results.record import Score


def agreement(verdict: AgreementVerdict, step: int) -> Agreement:
    score = Score(task="pgd", metric="accuracy_at_step", condition="clean", setting={"steps": step}, value=0.5, n=100,
                  ci_low=0.4, ci_high=0.6)  # fmt: skip
    return Agreement(score, 0.5, 0.25, 100, verdict, "sign test")


def found(refuted: int) -> Verification:
    agreements = [agreement("not" if step < refuted else "same", step) for step in range(50)]
    skipped = {"clean/transfer": "no teacher", "clean/peers": "no peers"} if refuted else {}
    return Verification("0" * 16, ("clean",), "cpu", None, 0, agreements, skipped, ("a", "b") if refuted else ())


def test_a_summary_has_at_most_five_lines_and_says_what_is_wrong_first() -> None:
    lines = list(summary(found(3)))
    assert len(lines) == 5
    assert lines[0].startswith("not: clean/pgd/accuracy_at_step steps 0: 0.5000 recorded, 0.2500 measured, n = 100")
    assert lines[0].endswith("(and 2 more scores)")
    assert lines[1] == "not measured: clean/transfer: no teacher (and 1 more tasks)"
    assert lines[2] == "other than recorded: a (and 1 more findings)"
    assert lines[3] == "50 of 50 scores compared; --all shows each"
    assert "47 same" in lines[4] and "3 not" in lines[4]
    assert len(list(summary(found(0)))) == 2


def test_all_shows_every_score_and_ends_alike() -> None:
    lines = "\n".join(every_line(found(3))).splitlines()
    assert sum("accuracy_at_step" in line for line in lines) == 50
    assert lines[-1] == list(summary(found(3)))[-1]
