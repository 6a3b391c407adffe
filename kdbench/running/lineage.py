"""A training with those it needs, from a plan or from a checkpoint, and the one walk over them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from kdbench.errors import KdbenchError
from kdbench.inference.prediction import freeze
from kdbench.specs import Training

MakePredictor = Callable[[Training, Mapping[str, nn.Module]], nn.Module]
"""Makes the network that a training would be evaluated by, from the networks that it needs, by role."""


@dataclasses.dataclass(frozen=True)
class Lineage:
    """A training and those it needs, by role."""

    training: Training
    needs: dict[str, Lineage]
    suite_role: str | None = None
    """The suite's network that it is, None for one that is trained for a method, and where that is not known."""

    @classmethod
    def read(cls, training: Any, needs: Mapping[str, Any]) -> Lineage:
        """From a checkpoint's metadata: a training, and what ``describe_needs`` gave.

        Raises ``ValidationError`` or ``KeyError`` for what another version wrote.
        """
        below = {role: cls.read(needed["training"], needed["needs"]) for role, needed in needs.items()}
        return cls(Training.model_validate(training), below)

    def describe_needs(self) -> dict[str, Any]:
        """How each needed network is trained, in turn with its own needs: what its architecture is rebuilt from."""
        return {
            role: {"training": needed.training.model_dump(mode="json"), "needs": needed.describe_needs()}
            for role, needed in self.needs.items()
        }

    def networks(self, make: MakePredictor) -> dict[str, nn.Module]:
        """The needed networks by role, deepest first, each frozen on the CPU; a mistake names the role it is in."""
        made = {}
        for role, needed in self.needs.items():
            with in_message(role):
                made[role] = freeze(make(needed.training, needed.networks(make)))
        return made


@contextlib.contextmanager
def in_message(name: str) -> Iterator[None]:
    """Begin the message of a mistake with what it is a mistake in."""
    try:
        yield
    except KdbenchError as error:
        raise KdbenchError(f"{name}: {error.message}", error.hint) from None
