"""One training and one run: everything that decides what comes of them."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field, field_validator

from kdbench.bounds import MOST_PARTS, Number, Values, Whole
from kdbench.specs.recipe import LabelNoise, Recipe
from kdbench.specs.suite import Suite, Watch
from kdbench.specs.values import GrowingSpec, canonical

TRAINING_VERSION = 2
"""Raised when the training loop changes what it computes; part of every training's hash."""


class Training(GrowingSpec):
    """One node of the run graph: everything that decides what a trained network is. Its digest names the training."""

    later = ("pretrained", "other_models", "measured", "watch")

    suite: str
    dataset: str
    dataset_sha256: str
    train_size: Number | None
    subset_seed: Whole
    noise: LabelNoise | None
    labels_sha256: str
    """Of the observed labels."""
    model: str
    model_source: str
    """SHA-256 of the files that define the network."""
    other_models: dict[str, str] = {}
    """Other architectures that the method builds, a peer's for instance: name to SHA-256 like ``model_source``."""
    dropout: float = 0.0
    """Dropout rate of the network."""
    pretrained: bool = False
    """Whether the network starts from weights trained elsewhere: those that its model names."""
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    flip: bool
    recipe: Recipe
    method: str
    method_source: str
    params: Values
    """Of the method, resolved, without those that only matter when the network is measured."""
    measured: Values = {}
    """The latter, where they are not at their defaults. They are no part of the digest: one training serves all."""
    watch: Watch | None = None
    """What attacked it after each epoch: nothing that decides weights, but its log has more."""
    seed: Whole
    device: str
    needs: dict[str, str]
    """Role to ``predictor_digest`` of the training that fills it."""
    training_version: int = TRAINING_VERSION

    @field_validator("noise")
    @classmethod
    def _wherever_its_labels_lie(cls, noise: LabelNoise | None) -> LabelNoise | None:
        return None if noise is None else noise.without_path()

    def canonical_json(self) -> str:
        """As for every specification, without what only matters when the network is measured."""
        values = self.model_dump(mode="json")
        values.pop("measured", None)
        return canonical(values)

    def predictor_digest(self) -> str:
        """Of the network that is measured, or taught with: the training's, unless it is measured otherwise."""
        if not self.measured:
            return self.digest()
        text = canonical({"training": self.digest(), "measured": self.measured})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunSpec(GrowingSpec):
    """One run: one method at one seed through a suite's conditions and tasks. Its digest is the run id."""

    later = ("examples",)

    suite: Suite
    method: str
    method_source: str
    params: Annotated[dict[str, Values], Field(max_length=MOST_PARTS)]
    """Resolved parameters of the method for each condition."""
    recipes: Annotated[dict[str, Recipe], Field(max_length=MOST_PARTS)]
    """How the student of each condition is trained: the suite's recipe with what the method tunes of it."""
    trainings: Annotated[dict[str, str], Field(max_length=MOST_PARTS**2)]
    """``<condition>/student``, ``<condition>/<role>`` of the suite's networks and ``<condition>/student/<role>`` of
    those that the method had trained for itself, each to the digest of that training, which covers data, labels,
    device and the source of method and network."""
    seed: Whole
    tasks: Annotated[dict[str, int], Field(max_length=MOST_PARTS)]
    """Task to the version of its definition."""
    datasets: Annotated[dict[str, str], Field(max_length=MOST_PARTS)]
    """Data set to the SHA-256 of its images and labels."""
    corruption_images: Annotated[str, Field(pattern="^(published|generated|published but for .+)$")]
    """Which corrupted images there were for tasks that use corruptions."""
    examples: Annotated[int, Field(ge=1)] | None = None
    """Size of the fixed stratified part of the test images that was measured; None: all."""

    @field_validator("suite")
    @classmethod
    def _wherever_its_files_lie(cls, suite: Suite) -> Suite:
        return suite.without_paths()

    def canonical_json(self) -> str:
        """As for every specification, without the suite's prose: a better sentence is no other run."""
        values = self.model_dump(mode="json")
        for prose in ("title", "why"):
            del values["suite"][prose]
        return canonical(values)

    @property
    def run_id(self) -> str:
        return self.digest()
