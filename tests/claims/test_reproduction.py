"""Claims, checked: on made-up runs, and from the command line on real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kdbench
from kdbench.claims import reproduction
from kdbench.claims.findings import Finding, read_report
from kdbench.claims.reproduction import FILE, problem, reproduce
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.plugin.registry import Registry
from kdbench.results.record import Record
from kdbench.running.options import RunOptions
from kdbench.running.plan import Plan
from kdbench.suites import load_suite
from tests.distributions import write_distribution
from tests.leaderboard.evidence import make

ACCURACY = kdbench.Measure("clean", "clean", "accuracy")
NOISY = kdbench.Measure("sym-40", "noisy_label", "accuracy")
PGD = kdbench.Measure("clean", "pgd", "robust_accuracy", {"variant": "pgd-std", "steps": 20, "rule": "worst"})
SKILL = {"ce": 0.5, "kd": 1.5, "gce": 0.5, "nrd": 0.5}


def claim(
    name: str, first: str, second: str, measure: kdbench.Measure, relation: Any, margin: float = 0.0, **rest: Any
) -> kdbench.Claim:
    comparison = kdbench.Comparison(
        kdbench.MethodConfig(first), kdbench.MethodConfig(second), measure, relation, margin
    )
    return kdbench.Claim(name, "A paper", f"Claim {name}.", [comparison], **{"suite": "digits", **rest})


CLAIMS = [
    claim("better", "kd", "ce", ACCURACY, "higher"),
    claim("worse", "ce", "kd", ACCURACY, "higher"),
    claim("close", "nrd", "gce", ACCURACY, "higher"),
    claim("alike", "kd", "kd", ACCURACY, "equal", 0.02),
    claim("robust", "kd", "ce", PGD, "higher", settings={"pgd": {"restarts": 2}}),
    claim("noise", "kd", "ce", NOISY, "higher"),
]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The claims above in place of the installed ones."""
    plugins = load_plugins()
    registry: Registry[kdbench.Claim] = Registry("claim")
    for one in CLAIMS:
        registry.add(one.name, one, "a plugin")
    monkeypatch.setattr(plugins, "claims", registry)
    return plugins


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Made-up runs in place of trained ones; what each was asked for."""
    calls: list[dict[str, Any]] = []

    def run_plan(plan: Plan, seed: int, options: RunOptions) -> Record:
        wanted: dict[str, Any] = {"suite": plan.suite, "conditions": list(plan.params), "tasks": list(plan.tasks)}
        calls.append({"method": plan.method, "seed": seed, "options": options, **wanted})
        failed = "diverged" if plan.method == "gce" and seed == 9 else None
        made = make(
            plan.method, seed=seed, skill=SKILL[plan.method], params=plan.params_passed, failed=failed,
            flagged=plan.method == "kd", **wanted,
        )  # fmt: skip
        made.keep(options.out)
        return made.record

    monkeypatch.setattr(reproduction, "run_plan", run_plan)
    return calls


@pytest.mark.parametrize(
    ("name", "verdict"), [("better", "holds"), ("worse", "fails"), ("close", "not shown"), ("alike", "holds")]
)
def test_made_up_methods_get_the_verdict_that_their_skill_deserves(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path, name: str, verdict: str
) -> None:
    report = reproduce([name], seeds=(0, 1, 2), options=RunOptions.make(out=tmp_path, device="cpu"))
    [finding] = report.findings
    assert finding.verdict == verdict
    assert finding.suite_version == load_suite(finding.suite).version
    assert finding.outcomes[0].paired
    assert finding.outcomes[0].seeds == [0, 1, 2]
    assert finding.counts == {verdict: 1}
    assert (finding.outcomes[0].needed is None) == (verdict != "not shown")
    assert finding.hardware == ["a processor, 2 threads"]
    assert read_report(tmp_path / FILE) == report


def test_what_another_process_finds_meanwhile_stays(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    options = RunOptions.make(out=tmp_path, device="cpu")
    others = [["worse", "alike"], ["alike"]]

    def meanwhile(_: Finding) -> None:
        reproduce(others.pop(), options=options)

    reproduce(["better", "close"], options=options, on_finding=meanwhile)
    assert [finding.claim for finding in read_report(tmp_path / FILE).findings] == ["alike", "better", "close", "worse"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [FILE]


def test_sides_that_saw_different_views_are_named(state: Plugins, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    """nrd's default is the strong view, that of gce the suite's."""
    close, better = reproduce(["close", "better"], options=RunOptions.make(out=tmp_path, device="cpu")).findings
    assert close.outcomes[0].unequal == ["unequal views: nrd sees 'strong', gce sees 'suite'"]
    assert better.outcomes[0].unequal == []
    for name in ("suite", "strong"):
        ours, theirs = (kdbench.MethodConfig(method, {"view": name}) for method in ("nrd", "gce"))
        fair = kdbench.Claim(name, "A paper", "So.", [kdbench.Comparison(ours, theirs, ACCURACY, "higher")], "digits")
        state.claims.add(name, fair, "a plugin")
        [finding] = reproduce([name], options=RunOptions.make(out=tmp_path, device="cpu")).findings
        assert finding.outcomes[0].unequal == []


def test_nothing_is_run_but_what_the_claim_needs(state: Plugins, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    reproduce(["noise"], options=RunOptions.make(out=tmp_path, device="cpu", download=False))
    assert [(call["method"], call["seed"]) for call in asked] == [(name, s) for name in ("kd", "ce") for s in range(3)]
    assert all(call["conditions"] == ["sym-40"] and call["tasks"] == ["noisy_label"] for call in asked)
    assert all(call["options"].place.download is False for call in asked)
    assert all(call["options"].device.type == "cpu" for call in asked)
    assert asked[0]["suite"] == load_suite("digits")


def test_a_claims_settings_are_set_on_top_of_the_suites(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    reproduce(["robust"], options=RunOptions.make(out=tmp_path, device="cpu"))
    plain = load_suite("digits").tasks["pgd"].settings
    assert asked[0]["suite"].tasks["pgd"].settings == {**plain, "restarts": 2}
    assert asked[0]["tasks"] == ["clean", "pgd"]


def test_doubtful_scores_are_marked(state: Plugins, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    [finding] = reproduce(["robust"], options=RunOptions.make(out=tmp_path, device="cpu")).findings
    assert finding.outcomes[0].first.doubts
    assert not finding.outcomes[0].second.doubts
    assert finding.outcomes[0].numbers()[0].endswith("[!]")


def test_a_run_that_diverged_leaves_its_claim_unmeasured_and_the_others_checked(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    seen: list[Finding] = []
    options = RunOptions.make(out=tmp_path, device="cpu")
    report = reproduce(["close", "better"], seeds=(9,), options=options, on_finding=seen.append)
    assert [finding.verdict for finding in report.findings] == ["not measured", "holds"]
    assert "gce, seed 9" in (report.findings[0].reason or "")
    assert "diverged" in (report.findings[0].reason or "")
    assert seen == report.findings


def test_a_run_that_diverged_leaves_the_other_comparisons_of_its_claim_judged(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    kd, ce, gce = (kdbench.MethodConfig(name) for name in ("kd", "ce", "gce"))
    mixed = [kdbench.Comparison(*pair, ACCURACY, "higher") for pair in [(kd, ce), (ce, kd), (kd, gce)]]
    state.claims.add("mixed", kdbench.Claim("mixed", "A paper", "So.", mixed, "digits"), "a plugin")
    report = reproduce(["mixed"], seeds=(8, 9), options=RunOptions.make(out=tmp_path, device="cpu"))
    [finding] = report.findings
    assert [one.verdict for one in finding.outcomes] == ["holds", "fails"]
    assert finding.counts == {"holds": 1, "fails": 1, "not measured": 1}
    assert finding.verdict == "not measured"
    assert "gce, seed 9" in (finding.reason or "")
    assert read_report(tmp_path / FILE) == report


def test_a_file_of_before_has_its_outcomes_counted(state: Plugins, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    reproduce(["better"], options=RunOptions.make(out=tmp_path, device="cpu"))
    old = json.loads((tmp_path / FILE).read_text())
    for finding in old["findings"]:
        del finding["counts"]
        for one in finding["outcomes"]:
            del one["needed"]
    (tmp_path / FILE).write_text(json.dumps(old))
    assert read_report(tmp_path / FILE).findings[0].counts == {"holds": 1}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (claim("broken", "kdd", "ce", ACCURACY, "higher"), "claim 'broken': no method named 'kdd'.*did you mean 'kd'"),
        (claim("broken", "kd", "ce", NOISY, "higher", suite="digit"), "no suite named 'digit'"),
        (claim("broken", "kd", "ce", kdbench.Measure("sym-50", "noisy_label", "accuracy"), "higher"), "sym-50"),
        (claim("broken", "kd", "ce", kdbench.Measure("clean", "pdg", "accuracy"), "higher"), "no task named 'pdg'"),
        (claim("broken", "kd", "ce", PGD, "higher", settings={"pgd": {"epsilon": 1}}), "epsilon"),
        (claim("broken", "kd", "ce", kdbench.Measure("sym-40", "pgd", "accuracy"), "higher"), "does not apply"),
    ],
)
def test_a_claim_that_cannot_be_measured_is_told_before_anything_is_trained(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path, broken: kdbench.Claim, message: str
) -> None:
    error = problem(broken, state)
    assert error is not None
    state.claims.add("broken", broken, "a plugin")
    with pytest.raises(kdbench.KdbenchError, match=message):
        reproduce(["better", "broken"], options=RunOptions.make(out=tmp_path))
    assert not asked
    report = reproduce(options=RunOptions.make(out=tmp_path, device="cpu"))
    found = {finding.claim: finding for finding in report.findings}
    assert found["broken"].verdict == "not measured"
    assert found["broken"].suite_version is None
    assert found["broken"].reason == str(error)
    assert found["better"].verdict == "holds"


def test_what_was_found_of_other_claims_stays(state: Plugins, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    first = reproduce(["noise", "better"], options=RunOptions.make(out=tmp_path, device="cpu"))
    second = reproduce(["better", "close"], seeds=(0, 1), options=RunOptions.make(out=tmp_path, device="cpu"))
    assert [finding.claim for finding in second.findings] == ["better", "close"]
    assert read_report(tmp_path / FILE).findings == [*second.findings, first.findings[0]]


def test_a_file_that_cannot_be_added_to_is_told_before_anything_is_trained(
    state: Plugins, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_text('{"schema_version": 1}')
    with pytest.raises(kdbench.KdbenchError, match="schema_version"):
        reproduce(["better"], options=RunOptions.make(out=tmp_path))
    assert not asked
    assert (tmp_path / FILE).read_text() == '{"schema_version": 1}'


def test_an_unknown_claim_is_told_with_the_nearest_right_name(state: Plugins, tmp_path: Path) -> None:
    with pytest.raises(kdbench.KdbenchError, match="no claim named 'beter' .did you mean 'better'"):
        reproduce(["beter"], options=RunOptions.make(out=tmp_path))


def test_a_finished_run_that_has_more_stands_in(state: Plugins, tiny_suite: Path, tmp_path: Path) -> None:
    """As of a leaderboard: with more tasks and conditions than a claim asks for."""
    state.claims.add("tiny", claim("tiny", "ce", "gce", ACCURACY, "equal", 0.9, suite=str(tiny_suite)), "a plugin")
    whole = kdbench.run(str(tiny_suite), "ce", tasks=["clean", "calibration"], out=tmp_path, device="cpu")
    [finding] = reproduce(["tiny"], seeds=(0,), options=RunOptions.make(out=tmp_path, device="cpu")).findings
    assert finding.outcomes[0].first.runs == [whole.run_id]
    assert [path.parent.name for path in tmp_path.glob("*/ce/*/record.json")] == [whole.run_id]
    [partial] = tmp_path.glob("*/gce/*/record.json")
    assert finding.outcomes[0].second.runs == [partial.parent.name]


def test_no_claim_at_all_is_told(state: Plugins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(state, "claims", Registry("claim"))
    with pytest.raises(kdbench.KdbenchError, match="no plugin states a claim"):
        reproduce(options=RunOptions.make(out=tmp_path))


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 1}', "\xff"])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(kdbench.KdbenchError, match="claims"):
        read_report(path)


PLUGIN = """
import kdbench

MINE, OTHER = kdbench.MethodConfig("ce"), kdbench.MethodConfig("label-smoothing", {"epsilon": 0.2})
ACCURACY = kdbench.Measure("clean", "clean", "accuracy")


@kdbench.hookimpl
def kdbench_register_claims():
    same = kdbench.Comparison(MINE, OTHER, ACCURACY, "equal", margin=0.9)
    unknown = kdbench.Comparison(MINE, kdbench.MethodConfig("nobody"), ACCURACY, "higher")
    return [
        kdbench.Claim("tiny-claim", "A paper", "[bold]It[/bold] is so.", [same], suite="SUITE"),
        kdbench.Claim("tiny-unknown", "A paper", "Nobody wins.", [unknown], suite="SUITE"),
    ]
"""


def test_the_command_line_checks_a_strangers_claim(tmp_path: Path, tiny_suite: Path) -> None:
    write_distribution(tmp_path / "site", "stranger", {"stranger": "stranger_module"})
    (tmp_path / "site/stranger_module.py").write_text(PLUGIN.replace("SUITE", str(tiny_suite)))
    paths = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH", ""))))

    def kdbench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kdbench", "reproduce", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    listed = {row["name"]: row for row in json.loads(kdbench("--claims", "--list", "--json").stdout)}
    assert listed["tiny-claim"]["state"] == "ready"
    assert listed["tiny-claim"]["comparisons"] == 1
    assert "no method named 'nobody'" in listed["tiny-unknown"]["state"]

    done = kdbench("--claims", "tiny-claim", "--seed", "0", "--json")
    assert done.returncode == 0, done.stderr
    [finding] = json.loads(done.stdout)["findings"]
    assert finding["verdict"] == "holds"
    first, second = (finding["outcomes"][0][side] for side in ("first", "second"))
    for side in (first, second):
        [run] = side["runs"]
        record = json.loads((tmp_path / f"runs/tiny/{side['method']}/{run}/record.json").read_text())
        assert list(record["spec"]["params"]) == ["clean"]
        assert list(record["spec"]["tasks"]) == ["clean"]
    gap = first["value"] - second["value"]
    assert finding["outcomes"][0]["difference"] == pytest.approx(gap)

    again = kdbench("--claims", "tiny-claim", "--seed", "0")
    assert "tiny-claim: holds; of 1 comparison 1 holds" in again.stdout
    assert "[bold]It[/bold] is so." in again.stdout
    assert again.stdout.splitlines()[-1] == str(Path("runs") / FILE)
    [filed] = json.loads((tmp_path / "runs" / FILE).read_text())["findings"]
    assert {**filed, "provenance": None} == {**finding, "provenance": None}

    for arguments, message in [
        (["--claims", "tiny-unknown"], "claim 'tiny-unknown': no method named 'nobody'"),
        (["--claims", "tiny-clam"], "no claim named 'tiny-clam' (did you mean 'tiny-claim'?"),
        ([], "nothing says what to reproduce"),
    ]:
        refused = kdbench(*arguments)
        assert refused.returncode == 2
        assert message in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
