"""The report as one self-contained page: no script, no address, untrusted text stays text."""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
import itertools
import json
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

from kdbench.leaderboard.installed import installed_method
from kdbench.leaderboard.site.text import content_policy, web_address
from kdbench.leaderboard.submit import reproduce
from kdbench.report.parts import Gallery, Missing, Plot
from kdbench.report.runs import Run
from kdbench.results.record import Record
from kdbench.results.wording import failed_checks, words

MOST_ROWS = 200
"""Of a table on the page; its file has all."""
MOST_CHARACTERS = 2000
"""Of one text on the page."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """A plot as the page shows it."""

    key: str
    title: str
    caption: str
    image: str
    """A data address."""
    columns: tuple[str, ...]
    rows: list[list[str]]
    left_out: int

    @classmethod
    def of(cls, plot: Plot, svg: bytes) -> Shown:
        """With its figure inside."""
        image = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
        rows = plot.table.to_text()
        left_out = max(0, len(rows) - MOST_ROWS)
        return cls(plot.key, plot.title, plot.caption, image, plot.table.columns, rows[:MOST_ROWS], left_out)


@dataclasses.dataclass(frozen=True)
class ShownGallery:
    """Single images as the page shows them."""

    key: str
    title: str
    caption: str
    groups: list[dict[str, object]]

    @classmethod
    def of(cls, gallery: Gallery) -> ShownGallery:
        """With its images inside."""
        groups: list[dict[str, object]] = [
            {
                "title": group.title,
                "said": group.said,
                "wide": any(len(card.images) > 2 for card in group.cards),
                "cards": [
                    {
                        "images": [(alt, f"data:image/png;base64,{base64.b64encode(png).decode()}")
                                   for alt, png in card.images],
                        "lines": card.lines,
                    }
                    for card in group.cards
                ],
            }
            for group in gallery.groups
        ]  # fmt: skip
        return cls(gallery.key, gallery.title, gallery.caption, groups)


def page(
    runs: Sequence[Run],
    parts: Sequence[Shown | ShownGallery],
    missing: Sequence[Missing],
    beside: Sequence[Mapping[str, str]] = (),
    title: str | None = None,
) -> str:
    """The page as HTML; ``beside``: of each run what lies beside the page, by what it is; ``title``: of the runs."""
    files = resources.files("kdbench.report") / "templates"
    style = (files / "report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=_cut)
    template = environment.from_string((files / "report.html.j2").read_text(encoding="utf-8"))
    spec = runs[0].record.spec
    return template.render(
        policy=content_policy([style], []),
        style=Markup(style),
        title=title or f"{' and '.join(run.label for run in runs)} on {spec.suite.label}",
        suite=spec.suite,
        runs=[{**_facts(run), "files": own} for run, own in zip(runs, beside or itertools.repeat({}), strict=False)],
        parts=parts,
        missing=missing,
        version=importlib.metadata.version("kdbench"),
        tasks={name: number for run in runs for name, number in run.record.spec.tasks.items()},
    )


def _cut(value: object) -> object:
    """Untrusted texts are cut; data addresses and the style keep theirs."""
    if type(value) is str and len(value) > MOST_CHARACTERS and not value.startswith("data:"):
        return f"{value[:MOST_CHARACTERS]}…"
    return value


def _who(record: Record) -> list[tuple[str, str]]:
    """What was measured: a method's student, or a model that was not trained here."""
    model, spec = record.evaluated, record.spec
    if model is None:
        return [("method", spec.method), ("seed", str(spec.seed))]
    facts = {
        "evaluated, not trained here": model.source,
        "SHA-256": model.sha256,
        "network": model.architecture,
        "weights": model.weights,
        "stripped prefixes": ", ".join(model.stripped),
        "parameters": words(model.params),
        "preprocessing": words(model.preprocessing),
        "test images": spec.examples and f"a stratified part of {spec.examples:,}",
    }
    return [(name, str(value)) for name, value in facts.items() if value]


def _params(record: Record) -> list[tuple[str, list[str]]]:
    """Parameter to its value under each condition."""
    params = record.spec.params
    names = dict.fromkeys(name for values in params.values() for name in values)
    return [
        (name, [json.dumps(one[name], ensure_ascii=False) if name in one else "-" for one in params.values()])
        for name in names
    ]


def _paper(record: Record) -> str | None:
    """Address of the paper of an installed method."""
    method = None if record.evaluated is not None else installed_method(record.spec.method)
    return None if method is None else web_address(method.paper)


def _facts(run: Run) -> dict[str, object]:
    """What the page says of one run."""
    record = run.record
    made = record.provenance
    noise = {
        condition: f"{facts.kind}{'' if facts.rate is None else f' {facts.rate:g}'}, "
        f"{100 * facts.realised:.2f} % of the labels wrong"
        for condition, facts in record.hashes.label_noise.items()
    }
    minutes = sum(seconds for name, seconds in made.seconds.items()) / 60
    device = f"{made.device_name} ({made.device}), {made.threads} threads, torch {made.torch}"
    facts = [
        *_who(record),
        ("run", record.run_id),
        *((f"label noise, {condition}", text) for condition, text in noise.items()),
        *((f"training view, {condition}", view) for condition, view in record.views.items()),
        *([("budget", record.budget)] if record.evaluated is None else []),
        ("machine", device),
        ("time", f"{minutes:.1f} minutes of work on {made.finished[:10]}"),
        ("kdbench", f"{made.kdbench_version} {made.kdbench_commit or ''}{' (changed)' if made.kdbench_dirty else ''}"),
    ]
    return {
        "label": run.label,
        "error": record.error,
        "facts": facts,
        "conditions": list(record.spec.params),
        "params": _params(record) if record.evaluated is None else [],
        "paper": _paper(record),
        "command": reproduce(record),
        "failed_checks": failed_checks(record.checks),
        "checks": len(record.checks),
    }
