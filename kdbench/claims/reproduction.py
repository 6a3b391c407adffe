"""Claims of papers, checked: run what they compare, compare it example by example, and say what came out."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kdbench.claims.claim import SEEDS, Claim, Comparison, Measure, MethodConfig, Verdict, combined
from kdbench.claims.findings import ClaimsReport, ComparisonResult, Finding, read_report
from kdbench.claims.judgement import Judged, outcome
from kdbench.claims.terms import Terms, unequal
from kdbench.errors import KdbenchError
from kdbench.locks import locked
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.results.evidence import Evidence
from kdbench.results.headline import unattacked_keys
from kdbench.results.record import Provenance
from kdbench.running import provenance
from kdbench.running.existing import Existing
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.running.plan import Plan
from kdbench.running.runner import record_path, run_plan
from kdbench.running.suite_data import SuiteData, load_suite_data, needed_data
from kdbench.specs import Suite, TaskPlan
from kdbench.suites import load_suite

FILE = "claims.json"
Measured = Sequence[tuple[MethodConfig, Sequence[Evidence]]]
"""Methods with their runs, one per seed."""


def suite_of(claim: Claim, name: str | None = None) -> Suite:
    """The suite that a claim is checked on, its own or another one of that name, with the claim's settings of tasks."""
    suite = load_suite(name or claim.suite)
    plans = dict(suite.tasks)
    for task, settings in claim.settings.items():
        plan = plans.get(task, TaskPlan())
        plans[task] = plan.model_copy(update={"settings": {**plan.settings, **settings}})
    return suite.model_copy(update={"tasks": plans})


def tasks_of(measure: Measure, suite: Suite, plugins: Plugins) -> list[str]:
    """What is run for a measure: its task, and plain accuracy, without which calibration cannot be compared, nor an
    attack be judged."""
    condition = suite.condition(measure.condition)
    plain = [key.partition("/")[0] for key in unattacked_keys()]
    return sorted({measure.task, *(name for name in plain if plugins.tasks.get(name).applies(condition))})


def check_claim(claim: Claim, suite: Suite, plugins: Plugins) -> None:
    """Raise for a claim that cannot be measured: an unknown method, parameter, condition, task or setting, a task that
    does not go with its condition, a library that is missing. Nothing is trained for it."""
    for config in claim.configs():
        for measure in claim.measures(config):
            tasks = tasks_of(measure, suite, plugins)
            Plan.make(suite, plugins, config.method, dict(config.params), [measure.condition], tasks)


class _Shared:
    """What the runs of a claim have in common, each read once: the suite's data, and finished runs on it."""

    def __init__(self, suite: Suite, plugins: Plugins, options: RunOptions) -> None:
        self.suite, self.plugins, self._options = suite, plugins, options
        self.existing = Existing(options.out, [suite.name])
        self.loaded = functools.cache(self._load)

    def _load(self, **needed: Any) -> tuple[SuiteData, RunGraph]:
        """``needed``: as of ``needed_data``."""
        data = load_suite_data(self.suite, self.plugins, self._options.place, **needed)
        return data, RunGraph(self.suite, data.dataset, self.plugins, self._options)


@dataclasses.dataclass(frozen=True)
class Runs:
    """Where runs come from: what is the same for all of them."""

    seeds: tuple[int, ...]
    options: RunOptions

    def of(self, claim: Claim, config: MethodConfig, shared: _Shared) -> list[Evidence]:
        """One method's runs, one per seed: those that are there, or new ones with nothing but the conditions and tasks
        that the claim needs."""
        measures = claim.measures(config)
        conditions = sorted({measure.condition for measure in measures})
        tasks = sorted({task for measure in measures for task in tasks_of(measure, shared.suite, shared.plugins)})
        plan = Plan.make(shared.suite, shared.plugins, config.method, dict(config.params), conditions, tasks)
        data, graph = shared.loaded(**needed_data(plan.tasks.values()))
        return [shared.existing.find(plan.spec(data, graph, seed)) or self._run(plan, seed) for seed in self.seeds]

    def _run(self, plan: Plan, seed: int) -> Evidence:
        record = run_plan(plan, seed, self.options)
        return Evidence.of(record, record_path(record, self.options.out))


def reproduce(
    names: Sequence[str] = (),
    *,
    suite: str | None = None,
    seeds: Sequence[int] = SEEDS,
    options: RunOptions,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> ClaimsReport:
    """Check claims, and file each finding in ``<options.out>/claims.json`` as it comes, in place of an earlier one.

    What the file holds of other claims stays there; the returned report has the claims that were checked.

    A claim that cannot be measured here is an error where it was asked for by name, before anything is trained; among
    all claims it is found ``not measured``, with the reason.

    Args:
        names: of claims; none: all that are installed.
        suite: to check them on, in place of their own.
        seeds: each method is trained with each of them.
        options: of all runs; those under ``options.out``, and the trained networks, that are there already are used.
        on_finding: called with each finding as it comes.
    """
    plugins, file = load_plugins(), options.out / FILE
    _filed(file)  # before anything is trained: it may be damaged
    chosen = [plugins.claims.get(name) for name in dict.fromkeys(names) or plugins.claims]
    if not chosen:
        raise KdbenchError("no plugin states a claim", "`kdbench plugins` shows what is installed")
    problems = {claim.name: problem(claim, plugins, suite) for claim in chosen}
    for error in problems.values():
        if names and error:
            raise error
    runs = Runs(tuple(dict.fromkeys(seeds)), options)
    findings: list[Finding] = []
    for claim in chosen:
        started, error = provenance.utc_now(), problems[claim.name]
        found = unmeasured(claim, str(error), suite) if error else check(claim, runs, plugins, suite)
        made = provenance.collect(plugins=plugins.loaded, device=options.device, started=started, seconds={})
        finding = Finding(claim=claim.name, paper=claim.paper, sentence=claim.sentence, provenance=made, **vars(found))
        findings.append(finding)
        _file(finding, file)
        on_finding(finding)
    return ClaimsReport(findings=findings)


def _filed(file: Path) -> list[Finding]:
    return read_report(file).findings if file.exists() else []


def _file(finding: Finding, file: Path) -> None:
    """In place of an earlier one of its claim; what other processes have filed meanwhile stays."""
    with locked(file.with_suffix(".lease")):
        filed = {**{one.claim: one for one in _filed(file)}, finding.claim: finding}
        ClaimsReport(findings=[filed[name] for name in sorted(filed)]).write(file)


def problem(claim: Claim, plugins: Plugins, suite: str | None = None) -> KdbenchError | None:
    """Why a claim cannot be measured here, None where it can."""
    try:
        check_claim(claim, suite_of(claim, suite), plugins)
    except KdbenchError as error:
        return KdbenchError(f"claim '{claim.name}': {error.message}", error.hint)
    return None


@dataclasses.dataclass(frozen=True)
class _Checked:
    """Of a finding, what checking makes."""

    suite: str
    suite_version: int | None
    verdict: Verdict
    reason: str | None
    hardware: list[str]
    outcomes: list[ComparisonResult]
    counts: dict[Verdict, int]


def unmeasured(claim: Claim, reason: str, suite: str | None = None) -> _Checked:
    """Of a claim that cannot be measured."""
    counts: dict[Verdict, int] = {"not measured": len(claim.comparisons)}
    return _Checked(suite or claim.suite, None, "not measured", reason, [], [], counts)


def check(claim: Claim, runs: Runs, plugins: Plugins, suite: str | None = None) -> _Checked:
    """Run what a claim compares and judge it; a run that failed leaves its own comparisons unmeasured, and no other."""
    setting = suite_of(claim, suite)
    measured: list[tuple[MethodConfig, list[Evidence]]] = []
    failures: list[str] = []
    shared = _Shared(setting, plugins, runs.options)
    for config in claim.configs():
        found = runs.of(claim, config, shared)
        failed = next((run.record for run in found if run.record.status == "failed"), None)
        if failed is None:
            measured.append((config, found))
        else:
            failures.append(f"{config}, seed {failed.spec.seed}, run {failed.run_id}: {failed.error}")
    outcomes = [_compare(one, measured, plugins) for one in claim.comparisons if _has_both(one, measured)]
    lacking = len(claim.comparisons) - len(outcomes)
    missing: list[Verdict] = ["not measured"] * lacking
    verdicts = [*(one.verdict for one in outcomes), *missing]
    return _Checked(
        setting.name,
        setting.version if outcomes else None,
        combined(verdicts),
        "; ".join(failures) or None,
        sorted({machine_of(one.record.provenance) for _, found in measured for one in found}),
        outcomes,
        dict(Counter(verdicts)),
    )


def _has_both(comparison: Comparison, measured: Measured) -> bool:
    """Whether both of its methods were measured."""
    return all(any(config == other for other, _ in measured) for config, _ in comparison.sides())


def _compare(comparison: Comparison, measured: Measured, plugins: Plugins) -> ComparisonResult:
    """Judge one comparison of methods that were measured."""

    def runs_of(config: MethodConfig) -> Sequence[Evidence]:
        return next(found for other, found in measured if other == config)

    def terms(config: MethodConfig, measure: Measure) -> Terms:
        run = runs_of(config)[0].record  # those of other seeds have the same
        return Terms.of(str(config), run, measure.condition, plugins.methods.get(config.method))

    first, second = (Judged.make(config, measure, runs_of(config)) for config, measure in comparison.sides())
    return outcome(comparison, first, second, unequal(*(terms(*side) for side in comparison.sides())))


def machine_of(made: Provenance) -> str:
    """What measured, in words."""
    threads = f"{made.threads} thread{'s' if made.threads > 1 else ''}"
    return f"{made.device_name}, {threads}" if made.device == "cpu" else f"{made.device_name} ({made.device})"
