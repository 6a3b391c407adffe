"""What a kind of label noise is, as plugins register it: drawn from labels and a rate, or labels that exist already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdbench.data import DataFacts, DataPlace
from kdbench.errors import KdbenchError
from kdbench.specs import LabelNoise

Draw = Callable[[Tensor, float, int, torch.Generator], Tensor]
"""(labels int64 (N,), rate, num_classes, generator) -> noisy labels int64 (N,), all by position."""


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Labels that exist already, one for each training image of a data set, in the order of its official files."""

    observed: Tensor
    """int64 (N,)."""
    clean: Tensor | None = None
    """int64 (N,): the true labels as the same source has them. They must be the data set's, which shows that both mean
    the same images; None where it has none."""
    sha256: str = ""
    """Of the file that they were read from, "" where there is none."""


Read = Callable[[LabelNoise, DataFacts, DataPlace], GivenLabels]
"""(what a condition asks for, the data set, where files are looked for) -> its labels."""


@dataclass(frozen=True)
class LabelNoiseSpec:
    """What a plugin registers to bring a kind of label noise: ``apply`` or ``read``.

    Example::

        LabelNoiseSpec("to-zero", lambda labels, rate, num_classes, generator: torch.where(
            torch.rand(len(labels), generator=generator) < rate, 0, labels), "a share of labels becomes class 0")
    """

    name: str
    apply: Draw | None = None
    """Draws noisy labels from clean ones. It is told neither which images they are of nor in which order these come."""
    description: str = ""
    num_classes: int | None = None
    """The number of classes it is defined for; None for any."""
    class_names: tuple[str, ...] | None = None
    """The classes it is defined for, in the order of the labels; None for any."""
    read: Read | None = None
    """Returns labels that exist already, for all training images in the order of the data set's official files. Which
    of them belongs to which example is the core's business; data in another order, class folders, are refused."""
    dataset: str | None = None
    """The data set that the labels are of; None for any."""
    share: float | None = None
    """The published share of wrong labels in [0, 1], exact to .01 %: labels with another share are refused."""
    sha256: str | None = None
    """Of the only file that the labels are read from: records of another one are refused. None: of any."""
    files: Callable[[DataPlace], Sequence[Path]] | None = None
    """Every file that ``read`` may read beside that at ``LabelNoise.path``, there or not: while none of them changes, a
    finished run is found without reading them."""
    fetch: Callable[[DataPlace], Path] | None = None
    """Downloads the labels and returns where they lie; None when there is nothing to download."""

    def __post_init__(self) -> None:
        if (self.apply is None) == (self.read is None):
            raise KdbenchError(
                f"label noise '{self.name}' should have either apply or read",
                "apply draws labels, read returns those that exist already",
            )

    def check(self, noise: LabelNoise, data: DataFacts) -> None:
        """Raise ``KdbenchError`` for what a condition asks and this kind, or the data set, cannot give."""
        if self.dataset not in (None, data.name):
            raise KdbenchError(
                f"label noise '{self.name}' is of the training images of '{self.dataset}', this dataset is "
                f"'{data.name}'",
                'kind = "file" reads labels of your own',
            )
        self.check_classes(data.class_names)
        self._check_values(noise)

    def _check_values(self, noise: LabelNoise) -> None:
        wrong = [key for key in ("path", "sha256") if getattr(noise, key) is not None]
        if wrong and (self.apply is not None or self.sha256 is not None):
            what = "is drawn and" if self.apply is not None else "is read from a file of its own and"
            raise KdbenchError(f"label noise '{self.name}' {what} has no {wrong[0]}", 'kind = "file" has one')
        if self.apply is not None:
            if noise.rate is None:
                raise KdbenchError(f"label noise '{self.name}' needs a rate, found none", "rate = 0.4 means 40 %")
        elif noise.rate is not None or noise.seed:
            key, value = ("rate", noise.rate) if noise.rate is not None else ("seed", noise.seed)
            raise KdbenchError(
                f"the labels of noise '{self.name}' exist already and have no {key}, found {value}",
                "leave it out: the share that is wrong is counted",
            )

    def check_classes(self, found: Sequence[str]) -> None:
        """Raise ``KdbenchError`` for a data set with classes that the noise isn't defined for."""
        self.check_number(len(found))
        for ours, theirs in zip(self.class_names or found, found, strict=True):
            if ours == theirs:
                continue
            raise KdbenchError(
                f"label noise '{self.name}' flips classes by name: found '{theirs}' where it expects '{ours}'",
                "'symmetric' works with any classes",
            )

    def check_number(self, found: int) -> None:
        """Raise ``KdbenchError`` for a number of classes that the noise isn't defined for."""
        expected = self.num_classes if self.class_names is None else len(self.class_names)
        if expected not in (None, found):
            raise KdbenchError(
                f"label noise '{self.name}' is defined for {expected} classes, this dataset has {found}",
                "'symmetric' works with any number of classes",
            )
