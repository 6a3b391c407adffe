"""``write_report``: make every part, write its figure and numbers at once, and the page at the end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kdbench.data import DataPlace
from kdbench.devices import resolve_device
from kdbench.errors import KdbenchError
from kdbench.files import check_writable, require_path, write_atomically
from kdbench.progress import bar
from kdbench.report import compare, confidence, confusion, examples, learning, memorisation, scores
from kdbench.report import images as galleries
from kdbench.report.bench import Bench
from kdbench.report.heading import Heading
from kdbench.report.page import Shown, ShownGallery, page
from kdbench.report.parts import Gallery, Missing, Part, Plot
from kdbench.report.runs import Run, open_runs
from kdbench.report.style import plain, png_of, styled, svg_of
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.log import LOG


@dataclasses.dataclass(frozen=True)
class Report:
    """What was written, and what could not be made."""

    page: Path
    """The self-contained HTML."""
    files: tuple[Path, ...]
    """Figures as PNG and SVG, the numbers of each as CSV, and records with their logs."""
    missing: tuple[Missing, ...]


def write_report(
    paths: Sequence[str | Path],
    out: str | Path = "report",
    *,
    data_dir: str | Path | None = None,
    device: str = "auto",
    views: int = 8,
    images: int | None = None,
    progress: bool = False,
) -> Report:
    """Write ``<out>/report.html`` and the figures of one run, or of several of one suite side by side.

    ``paths``: run folders, or record files as they are published. What needs data or a checkpoint that are not
    available is left out with the reason; nothing is downloaded. ``views`` is the largest number of transformed views K
    that the label-correction table averages, ``images`` how many training images it uses: default all, 2,000 on a CPU.
    Raises ``KdbenchError`` for a path that holds no record, runs of several suites, or an ``out`` that is not writable.
    """
    if views < 1 or (images is not None and images < 1):
        raise KdbenchError(f"views is {views} and images {images}, expected at least 1 each", "8 views are usual")
    if isinstance(paths, str | Path) or not isinstance(paths, Sequence):
        raise KdbenchError(
            f"write_report got a {type(paths).__name__}, expected a list of paths", "write_report([path])"
        )
    runs = open_runs([require_path("write_report", path) for path in paths])
    folder = Path(out)
    check_writable(folder)
    bench = Bench(runs, DataPlace.default(data_dir), resolve_device(device))
    makers = _makers(runs, bench, views, images)
    shown: list[Shown | ShownGallery] = []
    missing: list[Missing] = []
    files: list[Path] = []
    heading = heading_of(runs, " and ".join(run.label for run in runs))
    with styled(), bar("report", shown=progress) as update:
        for number, (title, make) in enumerate(makers.items()):
            update(number / len(makers), title)
            for part in _safely(title, make):
                if isinstance(part, Missing):
                    missing.append(part)
                    continue
                if isinstance(part, Gallery):
                    numbers = folder / f"{part.key}.csv"
                    write_atomically(numbers, part.table.to_csv().encode("utf-8", "replace"))
                    files.append(numbers)
                    shown.append(ShownGallery.of(part))
                    continue
                svg = svg_of(part.figure)
                files += write_plot(folder, part, svg, heading)
                shown.append(Shown.of(part, svg))
    beside = [_copies(folder, run, number) for number, run in enumerate(runs, 1)]
    files += [path for copied in beside for path in copied.values()]
    names = [{what: path.name for what, path in copied.items()} for copied in beside]
    write_atomically(folder / "report.html", page(runs, shown, missing, names).encode("utf-8", "replace"))
    return Report(folder / "report.html", tuple(files), tuple(missing))


Maker = Callable[[], Iterator[Part]]


def _makers(runs: Sequence[Run], bench: Bench, views: int, images: int | None) -> dict[str, Maker]:
    """Every part by what it is called when it fails as a whole, in the page's order."""
    return {
        "Scores": lambda: scores.scores(runs),
        "Differences": lambda: compare.differences(runs),
        "Accuracy under corruptions": lambda: scores.corruptions(runs),
        "Accuracy against the number of attack steps": lambda: scores.steps(runs),
        "Transfer of adversarial examples": lambda: scores.transfer(runs),
        "Reliability": lambda: confidence.reliability(runs),
        "Which classes are taken for which": lambda: confusion.confusions(runs),
        "Magnitude of softmax outputs": lambda: confidence.softmax_histogram(runs, bench),
        "Training and over-fitting": lambda: learning.training_curves(runs),
        "Numbers that methods log": lambda: learning.method_numbers(runs, _train_sizes(runs)),
        "Softmax vectors over epochs": lambda: learning.polygons(runs, bench.class_names),
        "Memorisation and label correction": lambda: memorisation.memorisation(runs, bench, views, images),
        "Examples": lambda: examples.examples(runs, bench),
        "Images by kind of mistake": lambda: galleries.images(runs, bench),
    }


def _safely(title: str, make: Maker) -> Iterator[Part]:
    """What a part yields, and the reason when it fails."""
    try:
        yield from make()
    except KdbenchError as error:
        yield Missing(title, (error.message,))


def _train_sizes(runs: Sequence[Run]) -> dict[str, int]:
    """Condition to the number of training images, as far as a checkpoint says it."""
    sizes = {}
    for run in runs:
        for condition in run.conditions:
            try:
                _, facts = load_checkpoint(run.checkpoint(condition))
            except KdbenchError:
                continue  # only a line in a figure hangs on it
            if isinstance(facts.get("train_size"), int):
                sizes[condition] = facts["train_size"]
    return sizes


def _copies(folder: Path, run: Run, number: int) -> dict[str, Path]:
    """The record and its log beside the page, by what they are: a page that is moved with its folder still has them."""
    contents = {"record": (f"record-{number}.json", run.path.read_bytes())}
    with contextlib.suppress(KdbenchError):  # the part with the curves says why it has no log
        contents["log"] = (f"log-{number}.jsonl", run.evidence(LOG).read_bytes())
    for name, content in contents.values():
        write_atomically(folder / name, content)
    return {what: folder / name for what, (name, _) in contents.items()}


def heading_of(runs: Sequence[Run], what: str) -> Heading:
    """Around the figures of these runs, of which ``what`` is a name."""
    suite, day = runs[0].record.spec.suite, max(run.record.provenance.finished[:10] for run in runs)
    subtitle = f"{plain(suite.label)}, suite version {suite.version}, measured {plain(day, 10)}"
    made = plain(runs[0].record.provenance.kdbench_version, 20)
    return Heading(subtitle, f"Source: kdbench report of {plain(what, 120)}, measured with kdbench {made}")


def write_plot(folder: Path, part: Plot, svg: bytes, heading: Heading) -> list[Path]:
    """A plot as PNG and SVG with what they are above them, and its numbers; returns the files."""
    title = plain(part.title, 120)
    contents = {
        "png": heading.around_png(png_of(part.figure), title),
        "svg": heading.around_svg(svg, title),
        "csv": part.table.to_csv().encode("utf-8", "replace"),
    }
    files = [folder / f"{part.key}.{kind}" for kind in contents]
    for path, content in zip(files, contents.values(), strict=True):
        write_atomically(path, content)
    return files
