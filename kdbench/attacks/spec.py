"""What the author of an attack implements: a function that returns candidates, or a class that does."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from kdbench.attacks._starts import RandomStarts
from kdbench.errors import KdbenchError
from kdbench.plugin import docs
from kdbench.plugin.parameters import parameters_of, validated
from kdbench.plugin.registry import Registry

BATCH_SIZE = 250
"""Images of one call, where draws depend on the batch: AutoAttack's own, the same on every machine."""
FAMILY = ":"
"""Between the name of a family of attacks and that of one of its members."""

Candidates = Callable[..., Any]
"""(model, images, labels, ctx) to candidates; see ``attack``."""


@dataclasses.dataclass(frozen=True)
class AttackContext:
    """What the core gives an attack for one batch of n images in one restart."""

    eps: float
    """Radius of the L-infinity ball in [0, 1] pixels."""
    generator: torch.Generator
    """On the images' device, seeded from the run's seed, the restart and the batch: the source of randomness."""
    num_classes: int
    seed: int
    """Of this restart, for a library that wants a number."""
    restart: int
    """Number of the restart, from 0."""
    stage: str
    """Which of the attack's ``stages`` is asked for; "" where it has none."""
    draws: int
    """1, or for a model that is random at test time the forward passes to average a gradient over."""
    index: Tensor
    """int64 (n,): places of the images among all, ascending."""

    def uniform(self, images: Tensor) -> Tensor:
        """clip01(x + U(-eps, eps)), float32 like ``images`` (n, C, H, W), those of this call.

        Drawn on the CPU from the restart and each image's place alone: the same in batches of any size, on any machine.
        """
        return RandomStarts(self.seed, self.eps, torch.device("cpu")).of(self.index, images)


@dataclasses.dataclass(frozen=True)
class AttackSpec:
    """A registered attack, made by ``kdbench.attack``; or a family of attacks, made by ``AttackSpec.family``.

    What is not said here stands with the arguments of ``kdbench.attack``.
    """

    name: str
    target: Candidates
    parameters: type[BaseModel]
    description: str = ""
    """Its docstring; the first paragraph is the summary."""
    paper: str = ""
    restarts: int | None = 1
    """Default of the core's parameter ``restarts``; None: it has none, and one of that name is the attack's own."""
    batch_size: int | None = BATCH_SIZE
    averages: bool = False
    gradient_free: bool = False
    requires: Callable[[], object] | None = None
    filled: Callable[[Mapping[str, Any], float], Mapping[str, Any]] | None = None
    member: Callable[[str], AttackSpec] | None = None
    """Of a family: the attack of that name, or a ``KdbenchError`` that says which there are."""
    members: Callable[[], Iterable[str]] | None = None
    """Of a family: the names of its attacks."""
    least_classes: Callable[[Mapping[str, Any]], int] | None = None
    tier_of: str = ""

    @classmethod
    def family(
        cls,
        name: str,
        member: Callable[[str], AttackSpec],
        members: Callable[[], Iterable[str]],
        *,
        description: str,
        paper: str = "",
    ) -> AttackSpec:
        """Attacks that are written ``name:MEMBER`` and looked up when they are asked for: those of a library.

        ``member`` makes the attack of a name, ``members`` lists the names.
        """
        return cls(name, member, parameters_of(f"attack '{name}'", member), description, paper,
                   restarts=None, member=member, members=members)  # fmt: skip

    @property
    def summary(self) -> str:
        """The first paragraph of what it is."""
        return docs.summary(self.description)

    @property
    def written(self) -> str:
        """How it is asked for: its name, or ``name:MEMBER``."""
        return f"{self.name}{FAMILY}MEMBER" if self.member else self.name

    def validate(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` with defaults filled in.

        Raises:
            KdbenchError: an unknown one, with the nearest right name, or a value out of range.
        """
        return validated(f"attack '{self.name}'", "option", self.parameters, options)

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise what would go wrong later: it is a family, an option is wrong, or what it needs is not installed.

        Raises:
            KdbenchError: one of these.
        """
        if self.member is not None:
            raise KdbenchError(
                f"'{self.name}' is a family of attacks",
                f"write '{self.written}'; `kdbench describe attack {self.name}` lists its members",
            )
        self.validate(options)
        if self.requires is not None:
            self.requires()

    def check_classes(self, options: Mapping[str, Any], classes: int) -> None:
        """Raise ``KdbenchError`` where the data have fewer classes than the attack with these options needs."""
        needed = 2 if self.least_classes is None else self.least_classes(self.validate(options))
        if classes < needed:
            raise KdbenchError(
                f"attack '{self.name}' needs {needed} classes, found {classes}",
                "it compares so many logits: use another attack, or another objective of it",
            )

    def make(self, params: Mapping[str, Any]) -> Candidates:
        """A fresh instance, or the function with its parameters; nothing is shared between two of them."""
        own = {key: value for key, value in params.items() if self.restarts is None or key != "restarts"}
        make: functools.partial[Any] = functools.partial(self.target, **own)
        return make() if inspect.isclass(self.target) else make


def attack(
    name: str,
    *,
    paper: str = "",
    restarts: int | None = 1,
    batch_size: int | None = BATCH_SIZE,
    averages: bool = False,
    gradient_free: bool = False,
    requires: Callable[[], object] | None = None,
    least_classes: Callable[[Mapping[str, Any]], int] | None = None,
    filled: Callable[[Mapping[str, Any], float], Mapping[str, Any]] | None = None,
    tier_of: str = "",
) -> Callable[[Candidates], AttackSpec]:
    """Decorate a function ``f(model, images, labels, ctx, *, parameters)`` that returns candidate images.

    Or a class whose ``__init__`` has the parameters and whose ``__call__(model, images, labels, ctx)`` does so. Images
    are float32 (n, C, H, W) in [0, 1], all of which the model gets right, labels int64 (n,), candidates like the
    images. The model maps such images to logits (n, classes); it is frozen and in eval mode. The core clips candidates
    to the ball and to [0, 1], judges them, repeats the attack on what still stands, and keeps the examples. A class may
    have ``stages(draws) -> Sequence[str]``: parts of one restart, each called with ``ctx.stage`` on what the parts
    before it left standing.

    Args:
        name: what it is asked for by.
        paper: address of its source.
        restarts: default of the parameter ``restarts``, which the core adds; None: it is run once and has none.
        batch_size: images of one call; None: what the memory allows, for an attack that draws from ``ctx.uniform``
            alone, so that batches don't matter.
        averages: it averages gradients over ``ctx.draws`` forward passes itself; otherwise the model that it gets
            answers with the mean of so many.
        gradient_free: it searches without gradients too, so that masked ones don't mislead it.
        requires: called before anything is trained; raises ``KdbenchError`` when something is not installed.
        least_classes: the fewest classes that it works on with these parameters; None: two. Data of fewer are refused
            before anything is trained.
        filled: what parameters that are None are at, from all of them and the radius, for the setting of its scores.
        tier_of: name of a thorough attack that this one stands for in less time; task ``attack`` then runs that one on
            some images that still stand, and a check says how many of them it breaks.

    Raises:
        KdbenchError: a parameter without a type or default, or one named ``restarts``.
    """

    def decorate(target: Candidates) -> AttackSpec:
        return AttackSpec(
            name,
            target,
            parameters_of(f"attack '{name}'", target, **restarts_field(restarts)),
            inspect.getdoc(target) or "",
            paper,
            restarts,
            batch_size,
            averages,
            gradient_free,
            requires,
            least_classes=least_classes,
            filled=filled,
            tier_of=tier_of,
        )

    return decorate


def restarts_field(default: int | None) -> dict[str, Any]:
    """The parameter that is the core's, as a field of a schema; none where there is no default."""
    count = Annotated[int, Field(ge=1, description="runs, each on the images that the ones before left standing")]
    return {} if default is None else {"restarts": (count, default)}


def find_attack(name: str) -> AttackSpec:
    """The registered attack of that name, or the member of a family, ``torchattacks:FGSM``.

    Raises:
        KdbenchError: there is none, with the nearest right name, or the attack has no members.
    """
    from kdbench.plugin.loader import load_plugins  # it loads the built-in attacks, which this module serves

    return named(load_plugins().attacks, name)[0]


def named(attacks: Registry[AttackSpec], name: str) -> tuple[AttackSpec, str]:
    """The attack, the member of a family or the family of that name, and the distribution that brought it.

    Raises:
        KdbenchError: as ``find_attack``.
    """
    first, colon, member = name.partition(FAMILY)
    spec, origin = attacks.get(first), attacks.origin(first)
    if not colon:
        return spec, origin
    if spec.member is None:
        raise KdbenchError(f"attack '{first}' has no members", f"write '{first}'")
    return spec.member(member), origin


def stages_of(made: Candidates, draws: int) -> Sequence[str]:
    """Names of the parts of one restart; one part without a name where the attack has none."""
    stages = getattr(made, "stages", None)
    return tuple(stages(draws)) if stages is not None else ("",)
