"""Single test images by kind of mistake, with what the per-example results of a run know of each."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.inference.prediction import predict
from kdbench.report.bench import Bench
from kdbench.report.parts import Card, Gallery, Group, Part, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import plain
from kdbench.results.headline import headline_of, installed_task, unattacked_keys
from kdbench.results.record import Score
from kdbench.results.wording import describe_setting, shared
from kdbench.tasks import Task, TestData

MOST_IMAGES: Final = 12
"""Of a kind."""
MOST_VERSIONS: Final = 4
"""Changed versions of the images, such as corruptions, that a kind is drawn from."""
MOST_BYTES: Final = 2**20
"""Of the PNGs of one run: the page holds them."""
SURE: Final = 0.9
SEED: Final = 0
CHECKED: Final = 256
"""Images that a student sees again, to check that they are those that it was measured on."""
COLUMNS: Final = ("condition", "kind", "image", "true_class", "predicted", "confidence", "version", "known")

Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class _Plain:
    """What a run kept of all test images as they are, under one condition."""

    correct: Bools
    answer: NDArray[Any] | None
    confidence: NDArray[Any] | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Version:
    """The test images, or a part of them, as a score measured them."""

    title: str
    score: Score
    correct: Bools
    """(n,)."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Changed:
    """What one task made of the test images."""

    title: str
    task: Task
    index: NDArray[np.int64]
    """(n,): which test images."""
    versions: tuple[_Version, ...]

    @functools.cached_property
    def wrong(self) -> dict[int, list[_Version]]:
        """Test image to the versions that are wrong."""
        found: dict[int, list[_Version]] = {}
        for version in self.versions:
            for place in self.index[~version.correct].tolist():
                found.setdefault(place, []).append(version)
        return found


def images(runs: Sequence[Run], bench: Bench) -> Iterator[Part]:
    """A gallery for each run: wrong as they are, surely wrong, and right until they were changed."""
    title, reasons = "Images by kind of mistake", []
    for number, run in enumerate(runs):
        try:
            maker = _Maker(run, bench)
            groups = [group for condition in run.conditions for group in maker.groups(condition)]
            if not groups:
                raise KdbenchError(f"{run.label} kept no results on single test images, or none is wrong")
        except KdbenchError as error:
            reasons.append(error.message)
            continue
        caption = (
            f"Test images of {run.label}, each kind drawn with a fixed seed, whatever the images show. Below each its "
            "true class, what the student took it for and its largest softmax output, as far as the run kept them. "
            "Corrupted images are those that were measured, made again; adversarial ones are not kept by a run and "
            "depend on the machine that made them. A few images show, they do not measure."
        )
        table = Table(COLUMNS, tuple(maker.rows))
        yield Gallery(f"images-{number + 1}", f"{title}: {run.label}", caption, tuple(groups), table)
    if reasons:
        yield missing(title, reasons)


class _Maker:
    """Makes the groups of one run, and collects the rows of its table."""

    def __init__(self, run: Run, bench: Bench) -> None:
        if run.record.spec.examples is not None:
            raise KdbenchError(f"{run.label} was measured on a part of the test images")
        self.run, self.bench = run, bench
        self.predictions = run.predictions()
        self.test = bench.dataset.test
        self.rows: list[tuple[Value, ...]] = []
        self.left = MOST_BYTES

    def groups(self, condition: str) -> Iterator[Group]:
        """Every kind of mistake that the run kept results of."""
        known = self._plain(condition)
        if known is None:
            return
        changed = list(self._changed(condition))
        wrong = np.flatnonzero(~known.correct)
        yield from self._as_they_are(condition, "Wrong", wrong, known, changed)
        if known.confidence is not None:
            sure = wrong[known.confidence[wrong] >= SURE]
            kind = f"Wrong with a confidence of at least {100 * SURE:.0f} %"
            yield from self._as_they_are(condition, kind, sure, known, changed)
        for one in changed:
            yield from self._broken(condition, one, known, changed)

    def _plain(self, condition: str) -> _Plain | None:
        n, labels = len(self.test), self.test.labels.numpy()
        for key in unattacked_keys():
            correct = self.predictions.get(f"{condition}/{key}")
            if correct is None or correct.dtype != np.bool_ or correct.shape != (n,):
                continue
            answer = self.predictions.get(f"{condition}/{key.rpartition('/')[0]}/answer")
            if answer is not None and not _answers(answer, correct, labels, len(self.test.class_names)):
                raise KdbenchError(f"the answers of {self.run.label} under {condition} contradict its right ones")
            return _Plain(correct, answer, self._confidence(condition, n))
        return None

    def _confidence(self, condition: str, n: int) -> NDArray[Any] | None:
        suite = self.run.record.spec.suite
        for name in self.run.record.spec.tasks:
            headline = headline_of(suite, name)
            found = self.predictions.get(f"{condition}/{name}/{headline.confidence}") if headline else None
            if found is not None and found.shape == (n,) and found.dtype.kind == "f":
                return found
        return None

    def _changed(self, condition: str) -> Iterator[_Changed]:
        """Of each task that measured a part of the test images: its headline, or what that is the mean of."""
        spec = self.run.record.spec
        for name in spec.tasks:
            task, headline = installed_task(name), headline_of(spec.suite, name)
            index = self.predictions.get(f"{condition}/{name}/index")
            if task is None or headline is None or index is None or not self._is_index(index):
                continue
            own = [s for s in self.run.record.scores if (s.condition, s.task) == (condition, name)]
            kept = [(score, found) for score in own if (found := self._results(task, score)) is not None]
            kept = [one for one in kept if headline.picks(one[0])] or (kept if headline.results else [])
            alike = shared([score.setting for score, _ in kept]) if len(kept) > 1 else {}
            versions = tuple(
                _Version(_version_title(score, alike, headline.title), score, found)
                for score, found in kept if found.shape == index.shape
            )  # fmt: skip
            if versions:
                yield _Changed(headline.title, task, index.astype(np.int64), versions)

    def _results(self, task: Task, score: Score) -> Bools | None:
        found = self.predictions.get(f"{score.condition}/{score.task}/{task.results_key(score)}")
        return found if found is not None and found.dtype == np.bool_ and found.ndim == 1 else None

    def _is_index(self, index: NDArray[Any]) -> bool:
        """Whether an untrusted array is of test images."""
        whole = index.ndim == 1 and index.dtype.kind in "iu" and len(index) > 0
        return whole and bool(index.min() >= 0 and index.max() < len(self.test))

    def _as_they_are(
        self, condition: str, kind: str, found: NDArray[np.int64], known: _Plain, changed: Sequence[_Changed]
    ) -> Iterator[Group]:
        cards = []
        for place in _drawn(found):
            said = _known(place, changed)
            self._row(condition, kind, place, known, "", said)
            cards.append(self._card(place, known, said))
        yield from self._group(condition, kind, cards, len(found), f"{len(known.correct):,} were measured")

    def _broken(self, condition: str, one: _Changed, known: _Plain, changed: Sequence[_Changed]) -> Iterator[Group]:
        """Right as they are, and wrong in a version of one task."""
        right = one.index[known.correct[one.index]]
        broken = np.array([place for place in right.tolist() if place in one.wrong], dtype=np.int64)
        order = np.random.default_rng(SEED).permutation(len(one.versions))[:MOST_VERSIONS]
        drawn: dict[int, _Version] = {}
        for version in (one.versions[place] for place in order):
            own = [place for place in broken.tolist() if version in one.wrong[place] and place not in drawn]
            share = -(-MOST_IMAGES // min(MOST_VERSIONS, len(one.versions)))
            drawn |= dict.fromkeys(_drawn(np.array(own, dtype=np.int64), share), version)
        kind = f"Right as they are, wrong under {one.title}"
        cards = []
        for version in dict.fromkeys(drawn.values()):
            places = [place for place, its in drawn.items() if its is version]
            for place, shown in zip(places, self._versions(condition, one, version, places), strict=True):
                said = _known(place, changed)
                self._row(condition, kind, place, known, version.title, said)
                cards.append(self._card(place, known, said, version.title, shown))
        of = f"{len(right):,} of those measured are right as they are"
        if any(len(card.images) == 1 for card in cards):
            of += "; where there is one picture, the changed one is not kept and could not be made again"
        yield from self._group(condition, kind, cards, len(broken), of)

    def _versions(
        self, condition: str, one: _Changed, version: _Version, places: Sequence[int]
    ) -> list[tuple[Tensor, int | None] | None]:
        """The changed images, uint8 (3, H, W), each with its answer where there is a student; None where they cannot
        be made again as they were."""
        spec, device = self.run.record.spec, self.bench.device
        nothing: list[tuple[Tensor, int | None] | None] = [None] * len(places)
        # Another version of a task, or arithmetic of another kind of device, may make other images.
        if spec.tasks[one.task.name] != one.task.version or self.run.record.provenance.device != device.type:
            return nothing
        index = torch.from_numpy(one.index)
        made = one.task.remade(version.score, TestData(self.test), index, one.task.settings_in(spec.suite), device)
        if made is None or len(made) != len(index):
            return nothing
        row = {place: number for number, place in enumerate(one.index.tolist())}
        rows = [row[place] for place in places]
        try:
            student = self.bench.predictor(self.run, condition)
        except KdbenchError:
            return [(made[number], None) for number in rows]
        checked = list(dict.fromkeys([*rows, *range(min(CHECKED, len(index)))]))
        answers = predict(student, made[checked], device=device).argmax(1)
        right = (answers == self.test.labels[index[checked]]).numpy()
        if not np.array_equal(right, version.correct[checked]):
            return nothing
        return [(made[number], int(answer)) for number, answer in zip(rows, answers.tolist(), strict=False)]

    def _card(
        self, place: int, known: _Plain, said: str, version: str = "", shown: tuple[Tensor, int | None] | None = None
    ) -> Card:
        true = self._class(int(self.test.labels[place]))
        lines = [f"image {place}: {true}", self._taken_for(place, known)]
        pictures = [(f"test image {place}, {true}", _png(self.test.images[place]))]
        if shown is not None:
            image, answer = shown
            lines.append(f"{version}: {'wrong' if answer is None else f'taken for {self._class(answer)}'}")
            pictures.append((f"the same under {version}", _png(image)))
        return Card(tuple(pictures), (*lines, *([said] if said else [])))

    def _taken_for(self, place: int, known: _Plain) -> str:
        sure = "" if known.confidence is None else f", {100 * float(known.confidence[place]):.0f} %"
        if known.correct[place]:
            return f"right{sure}"
        return f"{'wrong' if known.answer is None else f'taken for {self._class(int(known.answer[place]))}'}{sure}"

    def _class(self, number: int) -> str:
        return plain(self.test.class_names[number], 24)

    def _row(self, condition: str, kind: str, place: int, known: _Plain, version: str, said: str) -> None:
        answer = None if known.answer is None else self.test.class_names[int(known.answer[place])]
        sure = None if known.confidence is None else float(known.confidence[place])
        true = self.test.class_names[int(self.test.labels[place])]
        self.rows.append((condition, kind, place, true, answer, sure, version, said))

    def _group(self, condition: str, kind: str, cards: Sequence[Card], found: int, of: str) -> Iterator[Group]:
        """With as many of the cards as there is room for; nothing where nothing was found."""
        fitting = []
        for card in cards:
            size = sum(len(content) for _, content in card.images)
            if size > self.left:
                break
            self.left -= size
            fitting.append(card)
        if found:
            less = (
                f" ({len(cards) - len(fitting)} more are too large for the page)" if len(fitting) < len(cards) else ""
            )
            said = f"{len(fitting)} shown of {found:,} such images{less}; {of}."
            yield Group(f"{kind} ({condition})", said, tuple(fitting))


def _answers(answer: NDArray[Any], correct: Bools, labels: NDArray[Any], classes: int) -> bool:
    """Whether untrusted answers are classes and those that are right are the right ones."""
    fits = answer.shape == correct.shape and answer.dtype.kind in "iu" and bool((answer >= 0).all())
    return fits and bool((answer < classes).all()) and np.array_equal(answer == labels, correct)


def _drawn(found: NDArray[np.int64], most: int = MOST_IMAGES) -> list[int]:
    """At most so many of the images, ascending; the same whenever they are the same."""
    chosen = np.random.default_rng(SEED).permutation(found)[:most]
    return sorted(int(place) for place in chosen)


def _known(place: int, changed: Sequence[_Changed]) -> str:
    """What became of an image in every task that measured it."""
    said = []
    for one in changed:
        if place in one.index:
            wrong, every = len(one.wrong.get(place, ())), len(one.versions)
            state = ("wrong" if wrong else "right") if every == 1 else f"wrong in {wrong} of {every}"
            said.append(f"{one.title}: {state}")
    return "; ".join(said)


def _version_title(score: Score, alike: Mapping[str, Any], title: str) -> str:
    """What distinguishes a version from the others of its task."""
    own = {key: value for key, value in score.setting.items() if key not in alike}
    return plain(describe_setting(own).replace("_", " "), 48) if alike else plain(title, 48)


def _png(image: Tensor) -> bytes:
    """uint8 (3, H, W) as PNG, the same bytes for the same image."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, format="PNG", optimize=True)
    return file.getvalue()
