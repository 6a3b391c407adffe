from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from kdbench.comparing.contestants import find
from kdbench.comparing.names import choose
from kdbench.comparing.pairs import missing
from kdbench.comparing.table import Row, compare, unpaired
from kdbench.comparing.writing import differences_data, differences_text, to_csv
from kdbench.results.comparison import holm
from tests.leaderboard.evidence import make


def rows_of(runs: Path, *words: str, metric: str = "clean", by_seed: bool = True) -> list[Row]:
    field = find(words, runs)
    return compare(field.contestants, choose(field.suite, field.runs, metric.split(",")), by_seed=by_seed)


def test_one_seed_of_each_is_mcnemars_exact_test(runs: Path) -> None:
    ours, theirs = make("ce", tasks=["clean"]), make("kd", skill=1.1, tasks=["clean"])
    ours.keep(runs)
    theirs.keep(runs)
    [row] = rows_of(runs, "ce", "kd")
    a, b = (made.predictions["clean/clean/correct"] for made in (ours, theirs))
    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    assert (row.discordant[0].gained, row.discordant[0].lost) == (gained, lost)
    assert row.test == "McNemar"
    assert row.p_value == pytest.approx(scipy.stats.binomtest(gained, gained + lost).pvalue)
    assert row.difference == pytest.approx(b.mean() - a.mean())
    assert row.ci_low < row.difference < row.ci_high
    assert row.p_holm == row.p_value


def test_seeds_are_paired_and_both_sources_of_doubt_are_in_the_interval(runs: Path) -> None:
    made = {name: [make(name, seed=seed, skill=skill, tasks=["clean"]) for seed in range(4)]
            for name, skill in (("ce", 1.0), ("kd", 1.15))}  # fmt: skip
    for one in [*made["ce"], *made["kd"]]:
        one.keep(runs)
    [row] = rows_of(runs, "ce", "kd")
    ours, theirs = (np.stack([one.predictions["clean/clean/correct"] for one in made[name]]) for name in ("ce", "kd"))
    apart = theirs.astype(float) - ours
    seeds = apart.mean(1).var(ddof=1) / 4
    images = apart.mean(0).var(ddof=1) / 500
    variance = seeds + images + 1 / 500**2
    freedom = variance**2 / (seeds**2 / 3 + images**2 / 499)
    half = scipy.stats.t.ppf(0.975, freedom) * variance**0.5
    assert (row.ci_low, row.ci_high) == pytest.approx((apart.mean() - half, apart.mean() + half))
    assert row.p_value == pytest.approx(2 * scipy.stats.t.sf(abs(apart.mean()) / variance**0.5, freedom))
    assert (row.test, row.by_seed, row.paired) == ("seeds and examples", True, True)
    assert [one.seeds for one in row.discordant] == [(seed, seed) for seed in range(4)]


def test_only_seeds_that_both_have_count_and_others_are_named(runs: Path) -> None:
    for seed in (0, 1, 2):
        make("ce", seed=seed, tasks=["clean"]).keep(runs)
    for seed in (1, 2, 5):
        make("kd", seed=seed, tasks=["clean"]).keep(runs)
    [row] = rows_of(runs, "ce", "kd")
    assert row.seeds_first == row.seeds_other == (1, 2)
    assert row.remarks == ("seeds that only one of ce and kd has are left out: ce 0; kd 5",)
    [row] = rows_of(runs, "ce", "kd", by_seed=False)
    assert (row.seeds_first, row.seeds_other, row.by_seed) == ((0, 1, 2), (1, 2, 5), False)


def test_without_a_common_seed_they_are_independent_and_one_against_several_is_not_tested(runs: Path) -> None:
    for name, seeds in (("ce", (0, 1)), ("kd", (2, 3)), ("gce", (4,))):
        for seed in seeds:
            make(name, seed=seed, tasks=["clean"]).keep(runs)
    two, one = rows_of(runs, "ce", "kd", "gce")
    assert two.remarks == ("seeds of ce and kd are taken as independent",)
    assert two.p_value is not None
    assert (one.test, one.p_value, one.p_holm, one.better) == ("", None, None, "")


def test_holm_corrects_over_the_whole_table(runs: Path) -> None:
    for seed in (0, 1, 2):
        for name, skill in (("ce", 1.0), ("kd", 1.2), ("gce", 2.6)):
            make(name, seed=seed, skill=skill, tasks=["clean", "ood", "calibration"]).keep(runs)
    rows = rows_of(runs, "ce", "kd", "gce", metric="clean,ood,ece")
    assert len(rows) == 8  # the calibration of noisy labels too
    assert [row.p_holm for row in rows] == pytest.approx(holm([row.p_value for row in rows]).tolist())
    assert rows[1].better == "gce"


def test_lower_is_better_where_the_score_says_so(runs: Path) -> None:
    for name, skill in (("ce", 1.0), ("kd", 2.5)):
        for seed in (0, 1, 2):
            make(name, seed=seed, skill=skill, tasks=["calibration", "clean"], conditions=["clean"]).keep(runs)
    [row] = rows_of(runs, "ce", "kd", metric="ece")
    assert row.difference == pytest.approx(row.value_first - row.value_other), "by how much kd is better"
    assert row.ci_low < row.difference < row.ci_high
    assert row.better == ("kd" if row.value_other < row.value_first else "ce")
    assert row.p_holm is not None
    assert row.p_holm < 0.05


def test_records_without_evidence_are_compared_by_their_intervals_and_say_so(runs: Path) -> None:
    make("ce", tasks=["clean"]).keep(runs)
    path = make("kd", skill=1.3, tasks=["clean"]).keep(runs)
    [paired] = rows_of(runs, "ce", "kd")
    path.with_name("predictions.npz").unlink()
    [row] = rows_of(runs, "ce", "kd")
    assert (row.paired, row.test, row.discordant) == (False, "examples", ())
    assert row.ci_high - row.ci_low > paired.ci_high - paired.ci_low
    assert unpaired([paired]) == []
    [line] = unpaired([row, row])
    assert line.startswith("clean, clean: ce and kd: no per-example results of the same test images for both")


def test_who_lacks_a_score_is_named(runs: Path) -> None:
    make("ce", tasks=["clean", "ood"]).keep(runs)
    make("kd", tasks=["clean"]).keep(runs)
    field = find(["ce", "kd"], runs)
    assert missing(field.contestants, choose(field.suite, field.runs, ["clean", "ood"])) == ["OOD: no score of kd"]
    every = missing(field.contestants, choose(field.suite, field.runs, ["clean", "ood", "calibration", "corruption"]))
    assert every == ["OOD: no score of kd", "ECE, ECE sym-40, mCA: no score of any of them"]
    assert [row.axis.title for row in rows_of(runs, "ce", "kd", metric="clean,ood")] == ["clean"]


def test_a_doubtful_score_carries_its_flag(runs: Path) -> None:
    make("ce", tasks=["pgd"]).keep(runs)
    make("kd", tasks=["pgd"], flagged=True).keep(runs)
    [row] = rows_of(runs, "ce", "kd", metric="pgd-20")
    assert [flag[:37] for flag in row.flags] == ["kd: Check large_eps of pgd failed: la"]
    assert differences_text([row]).rows[0][0].endswith("[!]")


def test_the_same_numbers_as_text_csv_and_latex(runs: Path) -> None:
    for seed in (0, 1):
        make("ce", seed=seed, tasks=["clean", "pgd"], conditions=["clean"]).keep(runs)
        make("k_d", seed=seed, skill=1.4, tasks=["clean", "pgd"], conditions=["clean"]).keep(runs)
    rows = rows_of(runs, "ce", "k_d", metric="clean,pgd-20")
    text = differences_text(rows)
    assert text.columns == (
        "score", "ce", "k_d", "better by", "95 % interval", "p", "p, Holm", "McNemar <.05", "seeds", "images",
    )  # fmt: skip
    assert text.rows[0][:3] == ("clean", f"{100 * rows[0].value_first:.2f}", f"{100 * rows[0].value_other:.2f}")
    assert text.rows[0][-2:] == ("2", "500")
    [first, _] = csv.DictReader(io.StringIO(to_csv(differences_data(rows))))
    assert float(first["difference"]) == rows[0].difference
    assert first["seeds_first"] == "0 1"
    assert first["gained"] == " ".join(str(one.gained) for one in rows[0].discordant)
    latex = text.to_latex("50 % of k_d & more")
    assert r"\caption{50 \% of k\_d \& more}" in latex
    assert r"PGD-20 $\varepsilon$ .031" in latex
    assert [line for line in latex.splitlines() if "rule" in line] == ["\\toprule", "\\midrule", "\\bottomrule"]
    assert latex.isascii()
