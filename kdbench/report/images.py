"""Single test images by kind of mistake, with what the per-example results of a run know of each."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.report.bench import Bench
from kdbench.report.parts import Card, Gallery, Group, Part, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import plain
from kdbench.report.versions import Changed, Remade, Version, remade
from kdbench.results.headline import headline_of, installed_task, unattacked_keys
from kdbench.results.record import Score
from kdbench.results.wording import describe_setting, shared
from kdbench.tasks import Task

MOST_IMAGES: Final = 12
"""Of a kind."""
MOST_VERSIONS: Final = 4
"""Changed versions of the images, such as corruptions, that a kind is drawn from."""
MOST_BYTES: Final = 2**20
"""Of the PNGs of one run: the page holds them."""
SURE: Final = 0.9
SEED: Final = 0
COLUMNS: Final = (
    "condition", "kind", "image", "true_class", "predicted", "confidence", "version", "version_predicted",
    "version_confidence", "known",
)  # fmt: skip

Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class _Plain:
    """What a run kept of all test images as they are, under one condition."""

    correct: Bools
    answer: NDArray[Any] | None
    confidence: NDArray[Any] | None


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
            "Corrupted images are those that were measured, made again. A run does not keep adversarial ones: they are "
            "made again by the same attack from the same starts, and equal those that were measured up to rounding, "
            "which hangs on the machine. A few images show, they do not measure."
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

    def _changed(self, condition: str) -> Iterator[Changed]:
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
                Version(_version_title(score, alike, headline.title), score, found)
                for score, found in kept if found.shape == index.shape
            )  # fmt: skip
            if versions:
                yield Changed(headline.title, task, index.astype(np.int64), versions)

    def _results(self, task: Task, score: Score) -> Bools | None:
        found = self.predictions.get(f"{score.condition}/{score.task}/{task.results_key(score)}")
        return found if found is not None and found.dtype == np.bool_ and found.ndim == 1 else None

    def _is_index(self, index: NDArray[Any]) -> bool:
        """Whether an untrusted array is of test images."""
        whole = index.ndim == 1 and index.dtype.kind in "iu" and len(index) > 0
        return whole and bool(index.min() >= 0 and index.max() < len(self.test))

    def _as_they_are(
        self, condition: str, kind: str, found: NDArray[np.int64], known: _Plain, changed: Sequence[Changed]
    ) -> Iterator[Group]:
        cards = []
        for place in _drawn(found):
            said = _known(place, changed)
            self._row(condition, kind, place, known, said)
            cards.append(self._card(place, known, said))
        yield from self._group(condition, kind, cards, len(found), f"{len(known.correct):,} were measured")

    def _broken(self, condition: str, one: Changed, known: _Plain, changed: Sequence[Changed]) -> Iterator[Group]:
        """Right as they are, and wrong in a version of one task."""
        right = one.index[known.correct[one.index]]
        broken = np.array([place for place in right.tolist() if place in one.wrong], dtype=np.int64)
        order = np.random.default_rng(SEED).permutation(len(one.versions))[:MOST_VERSIONS]
        drawn: dict[int, Version] = {}
        for version in (one.versions[place] for place in order):
            own = [place for place in broken.tolist() if version in one.wrong[place] and place not in drawn]
            share = -(-MOST_IMAGES // min(MOST_VERSIONS, len(one.versions)))
            drawn |= dict.fromkeys(_drawn(np.array(own, dtype=np.int64), share), version)
        kind = f"Right as they are, wrong under {one.title}"
        cards, notes = [], dict.fromkeys([f"{len(right):,} of those measured are right as they are"])
        for version in dict.fromkeys(drawn.values()):
            places = [place for place, its in drawn.items() if its is version]
            made: Sequence[Remade | None] = [None] * len(places)
            try:
                made, note = remade(self.run, self.bench, condition, one, version, places)
            except KdbenchError as error:
                note = f"where there is one picture, the changed one could not be made again: {error.message}"
            notes |= {note: None} if note else {}
            for place, again in zip(places, made, strict=True):
                said = _known(place, changed)
                self._row(condition, kind, place, known, said, version.title, again)
                cards.append(self._card(place, known, said, version, again))
        yield from self._group(condition, kind, cards, len(broken), "; ".join(notes))

    def _card(
        self, place: int, known: _Plain, said: str, version: Version | None = None, again: Remade | None = None
    ) -> Card:
        true = self._class(int(self.test.labels[place]))
        lines = [f"image {place}: {true}", self._taken_for(place, known)]
        pictures = [(f"test image {place}, {true}", _png(self.test.images[place]))]
        if version is not None and again is not None:
            pictures += [(words, _png(image)) for words, image in again.images]
            lines.append(f"{version.title}: {self._answered(place, again)}")
        return Card(tuple(pictures), (*lines, *([said] if said else [])))

    def _answered(self, place: int, again: Remade) -> str:
        """To a version that the record says is wrong."""
        if again.answer is None:
            return "wrong"
        right = again.answer == int(self.test.labels[place])
        what = "right here, wrong in the record" if right else f"taken for {self._class(again.answer)}"
        return f"{what}, {100 * again.confidence:.0f} %" if again.confidence is not None else what

    def _taken_for(self, place: int, known: _Plain) -> str:
        sure = "" if known.confidence is None else f", {100 * float(known.confidence[place]):.0f} %"
        if known.correct[place]:
            return f"right{sure}"
        return f"{'wrong' if known.answer is None else f'taken for {self._class(int(known.answer[place]))}'}{sure}"

    def _class(self, number: int) -> str:
        return plain(self.test.class_names[number], 24)

    def _row(
        self, condition: str, kind: str, place: int, known: _Plain, said: str, version: str = "",
        again: Remade | None = None,
    ) -> None:  # fmt: skip
        answers = [None if known.answer is None else int(known.answer[place]), again.answer if again else None]
        sure = None if known.confidence is None else float(known.confidence[place])
        true = self.test.class_names[int(self.test.labels[place])]
        taken, then = (None if answer is None else self.test.class_names[answer] for answer in answers)
        then_sure = again.confidence if again else None
        self.rows.append((condition, kind, place, true, taken, sure, version, then, then_sure, said))

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


def _known(place: int, changed: Sequence[Changed]) -> str:
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
