from __future__ import annotations

from pathlib import Path

from kdbench.claims.claim import tally
from kdbench.claims.findings import read_report
from kdbench.plugin.loader import load_plugins
from kdbench.suites import load_suite
from tools import claims_page

ROOT = Path(__file__).parents[2]


def test_what_is_found_is_of_the_claims_as_they_are() -> None:
    report = read_report(claims_page.FOUND)
    claims = load_plugins().claims
    for finding in report.findings:
        assert finding.provenance.kdbench_dirty is False
        claim = claims.get(finding.claim)
        assert (finding.sentence, finding.paper, finding.suite) == (claim.sentence, claim.paper, claim.suite)
        verdicts = [one.judge(found.ci_low, found.ci_high)
                    for one, found in zip(claim.comparisons, finding.outcomes, strict=True)]  # fmt: skip
        assert [found.verdict for found in finding.outcomes] == verdicts
        assert all(
            len(side.runs) == len(found.seeds) for found in finding.outcomes for side in (found.first, found.second)
        )


def test_a_claim_has_its_verdict_and_a_row_per_comparison() -> None:
    claims, report = load_plugins().claims, read_report(claims_page.FOUND)
    for finding in report.findings:
        text = claims_page.section(claims.get(finding.claim), finding)
        assert text.startswith(f"## {finding.claim}\n")
        assert f"**{finding.verdict.capitalize()}:** {tally(finding.counts)}." in text
        assert sum(finding.counts.values()) == len(claims.get(finding.claim).comparisons)
        assert text.count(": not shown. ") == finding.counts.get("not shown", 0)
        assert text.count("\n| ") == 2 + len(finding.outcomes)  # a heading and a rule above them
        for one in finding.outcomes:
            mean = f"{100 * one.first.value:.1f} ({100 * one.first.ci_low:.1f}-{100 * one.first.ci_high:.1f})"
            assert f"| {one.text()} | {mean} | " in text
        assert ("[!]" in text) == any(one.first.doubts or one.second.doubts for one in finding.outcomes)


def test_a_finding_under_another_version_of_its_suite_says_so() -> None:
    claims, findings = load_plugins().claims, read_report(claims_page.FOUND).findings
    finding = next(one for one in findings if one.suite == "digits-claims")
    now = load_suite("digits-claims").version
    for version, old in ((now, False), (now - 1, True)):
        text = claims_page.section(claims.get(finding.claim), finding.model_copy(update={"suite_version": version}))
        assert ("to be measured again" in text) is old


def test_a_claim_without_a_finding_says_how_to_measure_it() -> None:
    claim = load_plugins().claims.get("kd-label-noise")
    assert "**Not measured yet:** `kdbench reproduce --claims kd-label-noise`." in claims_page.section(claim, None)
    finding = read_report(claims_page.FOUND).findings[0].model_copy(update={"reason": "no data", "outcomes": []})
    assert "**Not measured:** no data" in claims_page.section(claim, finding)


def test_verdicts_are_counted() -> None:
    page = claims_page.claims_page()
    verdicts = [one.verdict for one in read_report(claims_page.FOUND).findings]
    for verdict in set(verdicts):
        assert f"{verdicts.count(verdict)} {verdict}" in page.partition("Of ")[2].partition("\n")[0]


def test_the_page_counts_the_comparisons_of_every_claim() -> None:
    page, claims = claims_page.claims_page(), load_plugins().claims
    found = {finding.claim: finding for finding in read_report(claims_page.FOUND).findings}
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| [`")]
    assert len(rows) == len(claims.names())
    for row in rows:
        name = row[0].partition("`")[2].partition("`")[0]
        counts = [int(cell or 0) for cell in row[2:6]]
        assert sum(counts) == len(claims.get(name).comparisons)
        if name in found:
            assert counts == [found[name].counts.get(verdict, 0) for verdict in claims_page.ORDER]
