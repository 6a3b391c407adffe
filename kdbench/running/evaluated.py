"""What came of measuring a model from elsewhere: its record, how it is kept, and how it compares with another."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdbench.errors import KdbenchError
from kdbench.files import arrays_bytes, check_writable
from kdbench.hashes import tensor_bytes
from kdbench.locks import locked
from kdbench.plugin.loader import load_plugins
from kdbench.results.comparison import difference
from kdbench.results.evidence import PREDICTIONS, Evidence, record_at
from kdbench.results.frame import make_frame, plain_json, score_rows
from kdbench.results.record import Check, EvaluatedModel, Record, Score
from kdbench.results.samples import per_example, sample
from kdbench.results.store import read_evidence
from kdbench.running.observers import tell_observers
from kdbench.running.options import run_folder
from kdbench.sealed import Sealed, mend

if TYPE_CHECKING:
    import pandas

DIFFERENCES: Mapping[str, str] = {
    "condition": "str",
    "task": "str",
    "metric": "str",
    "setting": "str",
    "value": "float64",
    "other": "float64",
    "difference": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "p_value": "float64",
    "n": "int64",
    "paired": "bool",
    "unit": "str",
    "higher_is_better": "bool",
}
"""Columns of ``Evaluation.compare`` and their types."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What ``kdbench.evaluate`` measured."""

    record: Record
    """The whole of it, as it is kept: "evaluated, not trained here"."""
    correct: dict[str, Tensor]
    """Per-example results by ``<task>/<name>``."""

    @property
    def model(self) -> EvaluatedModel:
        """Where the model came from, and its hash."""
        assert self.record.evaluated is not None
        return self.record.evaluated

    @property
    def condition(self) -> str:
        """What the scores are filed under."""
        return next(iter(self.record.spec.params))

    @property
    def suite(self) -> str:
        return self.record.spec.suite.name

    @property
    def scores(self) -> list[Score]:
        return self.record.scores

    @property
    def checks(self) -> list[Check]:
        """Reliability of the scores; those that failed flag scores."""
        return self.record.checks

    @property
    def datasets(self) -> dict[str, str]:
        """Data set to the SHA-256 of its images and labels."""
        return self.record.hashes.datasets

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the images were when the model got them: ``pixels``, ``size`` and the ``normalisation`` of its own
        first layer, None where kdbench knows of none; and what was asked for beside these."""
        return self.model.preprocessing

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; per-example results are left out."""
        values = self.record.model_dump(mode="json", include={"run_id", "scores", "checks"})
        model = {"model": self.model.model_dump(mode="json"), "preprocessing": self.preprocessing}
        return {
            "suite": self.suite,
            "datasets": self.datasets,
            "examples": self.record.spec.examples,
            **model,
            **values,
        }

    def to_frame(self) -> pandas.DataFrame:
        """The scores as a tidy table, one row each, with the columns of ``kdbench.leaderboard.load``."""
        return make_frame(score_rows(self.record))

    def save(self, out: str | Path = "runs") -> Path:
        """Write record and per-example results to ``<out>/<suite>/<model>/<run id>/``; returns the record's path.

        ``kdbench report`` and ``kdbench leaderboard`` read them there. The same evaluation is written over. Raises
        ``KdbenchError`` where nothing can be written.
        """
        folder = run_folder(self.record.spec, Path(out))
        check_writable(folder)
        path = folder / "record.json"
        predictions = arrays_bytes({f"{self.condition}/{name}": one for name, one in self.correct.items()})
        evidence = {PREDICTIONS: hashlib.sha256(predictions).hexdigest()}
        kept = self.record.model_copy(update={"hashes": self.record.hashes.model_copy(update={"evidence": evidence})})
        with locked(folder.parent / f"{folder.name}.lease"):
            mend(folder)
            files = Sealed(folder)
            files.write({PREDICTIONS: predictions, path.name: kept.to_json().encode()})
            files.settle()
        tell_observers(load_plugins(), kept, path)
        return path

    def compare(self, other: Evaluation | str | Path) -> pandas.DataFrame:
        """What this model has more than another one on every score that both have, one row each.

        ``other``: an evaluation, or a record: its file or its folder, of a trained student too. ``difference`` is
        ``value - other``, with its 95 % interval and p-value over the test examples: ``paired`` example by example,
        or from the two scores' own intervals. They are of these two networks, and say nothing of other seeds.

        Raises:
            KdbenchError: it is no record, of another suite, of other images, or has no score in common.
        """
        theirs = _evidence_of(other) if isinstance(other, Evaluation) else _read(Path(other))
        _check_comparable(self.record, theirs.record)
        rows = list(_differences(_evidence_of(self), theirs))
        if not rows:
            raise KdbenchError(
                "the two have no score in common", "measure both on the same tasks, under the same condition"
            )
        return make_frame(rows, DIFFERENCES)


def describe_module(model: nn.Module) -> EvaluatedModel:
    """What is known of a module that is given as it is: its class, and a hash of its tensors.

    The hash is over names, types, shapes and values of its state dict; a scripted module's is over its code and
    constants as well. It does not see the Python code of a forward, nor plain attributes.
    """
    kind = type(model)
    digest = hashlib.sha256()
    if isinstance(model, torch.jit.ScriptModule):
        code, constants = model.code_with_constants
        digest.update(code.encode())
        _update(digest, dict(sorted(constants.const_mapping.items())))
    _update(digest, model.state_dict())
    return EvaluatedModel(source=f"python:{kind.__module__}.{kind.__qualname__}", sha256=digest.hexdigest())


def _update(digest: Any, value: object) -> None:
    """Add a state dict's entry: tensors by value, the rest by what is plain in it."""
    if isinstance(value, Tensor):
        dtype = torch.float32 if value.is_quantized else value.dtype
        digest.update(f"{dtype} {tuple(value.shape)};".encode() + tensor_bytes(value))
    elif isinstance(value, Mapping):
        for name, one in value.items():
            digest.update(f"{name}:".encode())
            _update(digest, one)
    elif isinstance(value, tuple | list):
        for one in value:
            _update(digest, one)
    else:
        plain = isinstance(value, str | int | float | bytes | None)
        digest.update(f"{value if plain else type(value).__name__};".encode())


def _read(path: Path) -> Evidence:
    found = read_evidence(record_at(path))
    if not isinstance(found, Evidence):
        raise KdbenchError(f"{found.path}: {found.reason}", "give an Evaluation, a run's folder or its record.json")
    return found


def _evidence_of(found: Evaluation) -> Evidence:
    arrays: dict[str, NDArray[Any]] = {
        f"{found.condition}/{name}": one.cpu().numpy() for name, one in found.correct.items()
    }
    return Evidence(found.record, Path("record.json"), None, arrays)


def _check_comparable(ours: Record, theirs: Record) -> None:
    if ours.spec.suite.name != theirs.spec.suite.name:
        raise KdbenchError(
            f"the other is of suite '{theirs.spec.suite.name}', this one of '{ours.spec.suite.name}'",
            "measure both on one suite",
        )
    for name, sha256 in ours.spec.datasets.items():
        if theirs.spec.datasets.get(name, sha256) != sha256:
            raise KdbenchError(f"the other was measured on other images of '{name}'", "measure both on the same data")


def _differences(ours: Evidence, theirs: Evidence) -> Iterator[dict[str, Any]]:
    """Of all scores that both have, in their order."""
    others = {_key(score): score for score in theirs.record.scores}
    versions = ours.record.spec.tasks.items() & theirs.record.spec.tasks.items()
    for score in ours.record.scores:
        other = others.get(_key(score))
        if other is None or (score.task, ours.record.spec.tasks[score.task]) not in versions:
            continue
        (one, _), (two, _) = (
            sample([which], [per_example(run, which)]) for run, which in ((ours, score), (theirs, other))
        )
        found = difference(one, two)
        yield {
            **score.model_dump(include={"condition", "task", "metric", "value", "n", "unit", "higher_is_better"}),
            "setting": plain_json(score.setting),
            "other": other.value,
            "difference": found.value,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "p_value": found.p_value,
            "paired": found.paired,
        }


def _key(score: Score) -> tuple[str, str, str, str]:
    return score.condition, score.task, score.metric, plain_json(score.setting)
