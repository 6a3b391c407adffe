"""docs/claims.md: what the papers claim, and what tools/data/claims.json found of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.claims.claim import COUNTED, Claim, Verdict, tally
from kdbench.claims.findings import ComparisonResult, Finding, Side, read_report
from kdbench.plugin.loader import load_plugins
from kdbench.results.wording import FLAG
from kdbench.suites import load_suite
from tools.markdown import prose, table

FOUND = Path(__file__).with_name("data") / "claims.json"
INTRODUCTION = """The headline claims of the four papers, as comparisons that `kdbench reproduce --claims` runs, at the
size that a CPU allows: small networks, few epochs. Their settings and margins were fixed before they were first
compared; that `kd` and `nrd` end above `ce` at 40 % noise was known from earlier records, and the claims about PGD took
over the suite's own attack, with finer steps and more restarts, after a first comparison with the same verdicts. The
claims about NRD gave it the strong view and its rivals the suite's own, which augments nothing there, when they were
first compared (at 40 % not shown, at 80 % it held): now all see the strong view, as in the paper. The
random teacher of `transfer-to-cni` got less noise to begin with when it learned nothing from the published one, before
anything was compared; there `digits` stands in for CIFAR-10. What `fickle-teacher` and `corrupted-teacher-keeps` say
of clean accuracy was known not to hold on `cifar10-lite` when they were written down, and both accuracies of
`soft-randomization` were known when its second comparison became `higher`, as the paper has it, from `equal`. A claim
**holds** when the whole 95 % interval of each of
its comparisons agrees with it, **fails** when that of one of them lies wholly on the other side, and is **not shown**
when an interval leaves it open. Each interval is of its comparison alone, which was written down before; a
leaderboard corrects by Holm's method over all pairs of a column, so that what holds here need not be significant there.
A claim is a set of comparisons, each with its own verdict: beside that of the claim
stands how many of them hold, fail or are open. A claim of several comparisons is harder to hold than one, and one that
fails may hold for the most part. Where a comparison is open, the number of seeds that would decide it is given, were
the difference what it is so far. That a claim fails here says that it does not carry over to this size, not that the
paper's numbers are wrong."""
ORDER: tuple[Verdict, ...] = ("holds", "fails", "not shown", "not measured")


def claims_page() -> str:
    """The whole page: the installed claims that come with kdbench, each with what was found of it."""
    plugins = load_plugins()
    found = {finding.claim: finding for finding in read_report(FOUND).findings}
    names = [name for name in plugins.claims.names() if plugins.claims.origin(name).startswith("kdbench ")]
    states = {name: found[name].verdict if name in found else "not measured" for name in names}
    counts = Counter[str](states.values())
    tallies = {name: counted(plugins.claims.get(name), found.get(name)) for name in names}
    rows = [[f"[`{name}`](#{name})", states[name], *per_verdict(tallies[name]), plugins.claims.get(name).suite]
            for name in names]  # fmt: skip
    headings = ["claim", "verdict", *(COUNTED[one][1] for one in ORDER), "suite"]
    every = Counter[Verdict]()
    for one in tallies.values():
        every.update(one)
    sections = [section(plugins.claims.get(name), found.get(name)) for name in names]
    return f"""# What the papers claim

{prose(INTRODUCTION)}

Of {len(names)}: {", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])}; {tally(every)}.

{table(headings, rows)}

{provenance(list(found.values()))}

{chr(10).join(sections)}
Written by `python -m tools.update` from tools/data/claims.json, which `kdbench reproduce --claims` writes and which
names the runs.
"""


def counted(claim: Claim, finding: Finding | None) -> dict[Verdict, int]:
    """Verdicts of a claim's comparisons, those that nobody measured included."""
    return {"not measured": len(claim.comparisons)} if finding is None else finding.counts


def per_verdict(counts: Mapping[Verdict, int]) -> list[str]:
    """A cell for each verdict, empty where no comparison has it."""
    return [str(counts.get(one) or "") for one in ORDER]


def provenance(findings: Sequence[Finding]) -> str:
    """With what, and how far to trust it."""
    seeds = sorted({seed for finding in findings for one in finding.outcomes for seed in one.seeds})
    machines = sorted({machine for finding in findings for machine in finding.hardware})
    made = [finding.provenance for finding in findings]
    builds = sorted({(one.kdbench_commit or one.kdbench_version)[:12] for one in made})
    alone = any(len(one.seeds) == 1 for finding in findings for one in finding.outcomes)
    warning = "With one seed an interval is over test images alone and says nothing of other seeds." if alone else ""
    named = f"Seed{'s' * (len(seeds) != 1)} {', '.join(map(str, seeds))}"
    words = f"""{named}. {warning} Differences are in percentage points, first minus second,
paired over test images; {FLAG} marks scores that a reliability check makes doubtful. Measured on
{"; ".join(machines)}, torch {", ".join(sorted({one.torch for one in made}))}, kdbench {", ".join(builds)},
{max(one.finished for one in made)[:10]}."""
    return prose(words)


def section(claim: Claim, finding: Finding | None) -> str:
    """One claim: its sentence, its comparisons, what is doubtful."""
    parts = [f"## {claim.name}", f"{claim.sentence} {claim.paper}" if not claim.paper.startswith("http")
             else f"{claim.sentence} <{claim.paper}>"]  # fmt: skip
    if finding is None:
        parts.append(f"**Not measured yet:** `kdbench reproduce --claims {claim.name}`.")
    elif finding.reason:
        parts.append(f"**Not measured:** {finding.reason}")
    if finding and finding.outcomes:
        parts.append(f"**{finding.verdict.capitalize()}:** {tally(finding.counts)}.{_of_old(finding)}")
        headings = ["comparison", "first", "second", "difference", "95 % interval", "n", "seeds", "verdict"]
        parts.append(table(headings, [row(one) for one in finding.outcomes]))
        parts += [f"{one.text()}: not shown. {one.outlook()}" for one in finding.outcomes if one.outlook()]
        parts += dict.fromkeys(line for one in finding.outcomes for line in one.unequal)
        doubts = dict.fromkeys(doubt for one in finding.outcomes for doubt in (*one.first.doubts, *one.second.doubts))
        parts += [f"{FLAG} {doubt}" for doubt in doubts]
    return "\n\n".join(parts) + "\n"


def _of_old(finding: Finding) -> str:
    """What is to be said of a finding whose suite has a newer version by now."""
    now = load_suite(finding.suite).version
    if finding.suite_version == now:
        return ""
    was = f"under version {finding.suite_version} of suite {finding.suite}"
    return f" Measured {was}, which has version {now} by now: to be measured again."


def row(one: ComparisonResult) -> list[str]:
    """One comparison as cells of a table."""
    difference, interval = one.numbers()
    return [
        one.text(), value(one.first), value(one.second), difference, interval, f"{one.n:,}", str(len(one.seeds)),
        one.verdict,
    ]  # fmt: skip


def value(side: Side) -> str:
    """A score with its interval, in percent."""
    return f"{100 * side.value:.1f} ({100 * side.ci_low:.1f}-{100 * side.ci_high:.1f})"
