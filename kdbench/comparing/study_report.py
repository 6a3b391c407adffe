"""The report of a study: its scores against each parameter that varies in it, as ``kdbench plot`` draws them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kdbench.comparing.contestants import Meant, of_study
from kdbench.comparing.drawing import MOST_PANELS, draw
from kdbench.comparing.names import choose
from kdbench.comparing.series import make_series
from kdbench.errors import KdbenchError
from kdbench.files import check_writable, write_atomically
from kdbench.report.page import Shown, page
from kdbench.report.parts import Missing, Plot
from kdbench.report.runs import Run
from kdbench.report.style import plain, styled, svg_of
from kdbench.report.write import Report, heading_of, write_plot
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.sweep import find_study
from kdbench.suites.changes import is_of_suite

MOST_SETTINGS: Final = 50
"""Of which the page has the facts of a run."""


def write_study_report(name: str, folder: Path, out: Path) -> Report:
    """Write ``<out>/report.html`` of a study in a folder of runs: a figure for each parameter that varies.

    A figure has a panel for each score and condition, a line for each method and setting of the other parameters, and
    95 % intervals; its files lie beside the page. Raises ``KdbenchError`` for a study without finished runs.
    """
    study = find_study(folder, name)
    plan, meant = study.plan(), of_study(study)
    names = varied(plan)
    check_writable(out)
    shown: list[Shown] = []
    missing: list[Missing] = []
    files: list[Path] = []
    runs = _runs(meant, names)
    heading = heading_of(runs, f"study {plain(plan.study.name)}")
    with styled():
        for number, x in enumerate(names, 1):
            for part in _figures(meant, x, number):
                if isinstance(part, Missing):
                    missing.append(part)
                else:
                    svg = svg_of(part.figure)
                    files += write_plot(out, part, svg, heading)
                    shown.append(Shown.of(part, svg))
    if not names:
        missing.append(Missing("Scores against a parameter", ("no parameter has two values in this study",)))
    html = page(runs, shown, missing, title=f"Study {plain(plan.study.name)} on {runs[0].record.spec.suite.label}")
    write_atomically(out / "report.html", html.encode("utf-8", "replace"))
    return Report(out / "report.html", tuple(files), tuple(missing))


def varied(plan: StudyPlan) -> list[str]:
    """The parameters and values of the suite that a study gives several values, as ``kdbench plot --x`` has them."""
    found: dict[str, set[str]] = {}
    for node in (node for node in plan.nodes if node.kind == "run"):
        for key, value in {**node.params, **node.changes}.items():
            found.setdefault(key, set()).add(repr(value))
    return [key for key, values in found.items() if len(values) > 1]


def _figures(meant: Meant, x: str, number: int) -> Iterator[Plot | Missing]:
    """Of one parameter: a figure, or several where one has no room for all scores."""
    title = f"Scores against {plain(x)}"
    try:
        field = meant.compared(varied=x if is_of_suite(x) else "")
        columns = choose(field.suite, field.runs)
        for part, start in enumerate(range(0, len(columns), MOST_PANELS), 1):
            series = make_series(field.contestants, columns[start : start + MOST_PANELS], x)
            plot = draw(series, field.suite.label, caption=False)
            more = f", part {part}" if len(columns) > MOST_PANELS else ""
            yield dataclasses.replace(plot, key=f"against-{number}-{part}", title=f"{title}{more}")
    except KdbenchError as error:
        yield Missing(title, (error.message,))


def _runs(meant: Meant, names: list[str]) -> list[Run]:
    """One run of each setting, for the facts of the page."""
    whole = next((x for x in names if is_of_suite(x)), "")
    contestants = meant.compared(varied=whole).contestants[:MOST_SETTINGS]
    first = [(plain(one.title, 80), one.finished[0]) for one in contestants]
    return [Run(f"{title}, seed {run.record.spec.seed}", run.record, run.path) for title, run in first]
