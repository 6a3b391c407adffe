"""One checkpoint on its way to a verdict: its tasks measured again, on the images of its record."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kdbench.data import ImageSet
from kdbench.errors import KdbenchError, plain
from kdbench.files import file_sha256
from kdbench.inference.prediction import folded_copy
from kdbench.leaderboard.agreement import ROUNDING, Agreement, Examples, compare
from kdbench.leaderboard.case import Case
from kdbench.progress import bar
from kdbench.results.machine import machine, other_bits
from kdbench.results.record import Check, NoiseFacts, Record, Score
from kdbench.running.evaluation import run_task
from kdbench.running.graph import RunGraph
from kdbench.running.loading import load_predictor
from kdbench.running.provenance import collect, utc_now
from kdbench.running.suite_data import Part, SuiteData, image_part
from kdbench.tasks import EvaluationContext, Task, TestData

Entry = TypeVar("Entry", Score, Check)
SHOWN: Final = 5
"""Scores that a record lacks and that are named."""
CHECK_DRIFT: Final = 0.02
"""What a check may find otherwise on another machine, where it passes on one and not on the other."""


def lacking_scores(task: str, recorded: Sequence[Score], measured: Sequence[Score]) -> list[str]:
    """Scores that a task gives and a record lacks; [] for a record that says less of its settings, as early ones do."""
    if not recorded or not {key for score in measured for key in score.setting} <= {
        key for score in recorded for key in score.setting
    }:
        return []
    known = {(score.metric, *sorted(score.setting.items())) for score in recorded}
    lacking = [score for score in measured if (score.metric, *sorted(score.setting.items())) not in known]
    return [f"the record lacks {task}/{score.metric} {plain(score.setting)}" for score in lacking[:SHOWN]]


def checks_again(recorded: Sequence[Check], measured: Sequence[Check], exact: bool) -> list[str]:
    """Checks of a task that a record lacks, or that say there what they do not say here."""
    found, left = [], list(recorded)
    for here in measured:
        same = next((check for check in left if (check.name, check.setting) == (here.name, here.setting)), None)
        if same is None:
            found.append(f"the record lacks check {here.name} of {here.task} {plain(here.setting)}")
            continue
        left.remove(same)
        moved = abs(same.value - here.value)
        if moved > ROUNDING if exact else same.passed != here.passed and moved > CHECK_DRIFT:
            found.append(f"check {here.name} of {here.task} finds {here.value:.4g}, the record has {same.value:.4g}")
    return found


def at(entries: Iterable[Entry], condition: str, task: str) -> list[Entry]:
    """Scores or checks of one task under one condition."""
    return [one for one in entries if (one.condition, one.task) == (condition, task)]


def other_than_recorded(
    record: Record, condition: str, task: str, scores: Iterable[Score], checks: Iterable[Check], *, exact: bool | None
) -> list[str]:
    """What a record lacks of a task that was measured again whole, and checks that say there what they do not say here.

    Args:
        exact: whether the same bits must come out; None: of another network, which is another one to its checks, too.
    """
    lacking = lacking_scores(task, at(record.scores, condition, task), at(scores, condition, task))
    if exact is None:
        return lacking
    return [*lacking, *checks_again(at(record.checks, condition, task), at(checks, condition, task), exact)]


def other_labels(condition: str, recorded: NoiseFacts | None, here: NoiseFacts | None) -> list[str]:
    """Whether noisy labels are other ones than those that a record hashed."""
    said, found = (None if one is None else (one.sha256, one.realised) for one in (recorded, here))
    if said == found:
        return []
    return [f"label noise under {condition} here is {_noise(here)}; the record has {_noise(recorded)}"]


def _noise(facts: NoiseFacts | None) -> str:
    return "none" if facts is None else f"{facts.realised:.6g} wrong, SHA-256 {facts.sha256}"


@dataclasses.dataclass(frozen=True)
class Job:
    """A student, what its record measured of it, and how much of that is to be measured."""

    case: Case
    condition: str
    beside: tuple[str, ...]
    """Conditions that are verified with it, itself among them: the level holds over all."""
    suite_data: SuiteData
    part: Part
    """What the record measured of it."""
    graph: RunGraph
    student: nn.Module
    examples: int | None
    seed: int
    train: bool

    def sources(self, task: Task, settings: Any) -> tuple[dict[str, nn.Module], str]:
        """The suite's networks that a task needs, as the record has them; or why they are lacking."""
        networks = {}
        for role in task.sources(settings):
            recorded = self.case.record.hashes.networks.get(f"{self.condition}/{role}")
            if recorded is None:
                return {}, f"the record names no network '{role}'"
            training = self.graph.network(self.condition, role)
            folders = sorted(self.graph.folder.glob(f"*-{recorded.training}"))
            file = folders[0] / "checkpoint.safetensors" if folders else None
            if (file is None or not file.is_file()) and self.train:
                file = self.graph.ensure(training, self.condition, role).checkpoint
            if file is None or not file.is_file():
                return {}, f"'{role}' is not under {self.graph.folder}: --train trains it, --out says where it is"
            if file_sha256(file) != recorded.sha256:
                return {}, f"'{role}' in {file.parent} is another network than the record's"
            network = load_predictor(
                file, params=training.measured, device=self.graph.device, plugins=self.graph.plugins
            )
            networks[role] = folded_copy(network, self.suite_data.test.test.images, self.graph.device)
        return networks, ""

    def label_noise(self) -> list[str]:
        """Whether the labels of the training here are those that the record hashed, where they can be had."""
        recorded = self.case.record.hashes.label_noise.get(self.condition)
        if recorded is None or self.suite_data.dataset.train is None:
            return []
        try:
            found = self.graph.train_set(self.condition)[1]
        except KdbenchError:  # a file of labels that is not here: what needs it says so itself
            return []
        return other_labels(self.condition, recorded, found)

    @functools.cached_property
    def exact(self) -> bool:
        """Whether all that is known to decide the bits of a measurement is as it was for the record."""
        made = self.case.record.provenance
        here = collect(plugins=self.case.plugins.loaded, device=self.graph.device, started=utc_now(), seconds={})
        return not other_bits(machine(here), machine(made)) and not made.smaller_batches

    def measure(
        self, task: Task, settings: Any, networks: Mapping[str, nn.Module]
    ) -> tuple[list[Agreement], list[str]]:
        """One task on the same examples as the record's, or on a sample of them; and what else is not as recorded."""
        results = self.case.results(self.condition)
        index, data, rows = results.get(f"{task.name}/index"), self.part.data, self.part.rows
        if rows is None:
            universe = np.arange(len(data.test)) if index is None else index
        else:  # tasks draw their subsets from the part as they did
            universe = np.arange(len(data.test))
            if index is not None and not task.needs_ood:
                universe = np.flatnonzero(np.isin(rows.numpy(), index))
        sampled = self.examples is not None and self.examples < len(universe)
        if sampled:
            data = TestData(
                image_part(data.test, torch.from_numpy(universe[self._positions(len(universe))])),
                None if data.ood is None else self._sample(data.ood),
                data.published_corruptions,
                {name: self._sample(images) for name, images in data.outside.items()},
            )
        ctx = EvaluationContext(self.condition, self.graph.device, None, networks=networks)
        with bar(f"measure {task.name} ({self.condition})", shown=self.graph.options.progress) as update:
            outcome = run_task(
                task, settings, self.student, data, dataclasses.replace(ctx, advance=functools.partial(update, note=""))
            )

        def examples(score: Score) -> Examples | None:
            name = task.results_key(score)
            old, new = results.get(f"{task.name}/{name}"), outcome.correct.get(str(name))
            if old is None or new is None:
                return None
            old = old[self._positions(len(old))] if sampled else old
            return Examples(old, new.cpu().numpy()) if old.shape == tuple(new.shape) else None

        record, place = self.case.record, (self.condition, task.name)
        recorded = at(record.scores, *place)
        tasks = {(score.condition, score.task) for score in record.scores if score.condition in self.beside}
        compared = compare(
            recorded, outcome.scores, examples, whole=not sampled, exact=self.exact and not sampled,
            tasks=max(1, len(tasks)),
        )  # fmt: skip
        if sampled:
            return compared, []
        return compared, other_than_recorded(record, *place, outcome.scores, outcome.checks, exact=self.exact)

    def _sample(self, images: ImageSet) -> ImageSet:
        return image_part(images, torch.from_numpy(self._positions(len(images))))

    def _positions(self, size: int) -> NDArray[np.int64]:
        """The sample's positions, ascending, among so many examples."""
        number = size if self.examples is None else min(self.examples, size)
        return np.sort(np.random.default_rng([self.seed, size]).choice(size, number, replace=False))
