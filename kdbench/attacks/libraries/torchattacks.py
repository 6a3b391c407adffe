"""Any attack class of the package torchattacks (Kim 2020), which the extra attacks brings, by its name."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ConfigDict, create_model
from torch import Tensor

from kdbench.attacks.libraries import installation
from kdbench.attacks.libraries.guard import Guarded, inside_library
from kdbench.attacks.spec import FAMILY, AttackContext, AttackSpec, restarts_field
from kdbench.errors import KdbenchError
from kdbench.inference.model import Model

FILLED = ("eps", "max_epsilon", "seed", "n_classes")
"""Arguments of constructors that get the value of the call unless an option says otherwise: radius, seed, classes."""


BALL = "Linf"
"""The norm that candidates are clipped in, as torchattacks writes it."""


def _candidates(kind: Any, model: Model, images: Tensor, labels: Tensor, ctx: AttackContext, **options: Any) -> Any:
    """What an object of the class makes of the images; an option that is None is filled in from the call."""
    accepted = _parameters(kind)
    filled: dict[str, Any] = {"eps": ctx.eps, "max_epsilon": ctx.eps, "seed": ctx.seed}
    if "n_classes" in accepted:  # more than the model has would be an index out of range
        filled["n_classes"] = min(accepted["n_classes"].default, ctx.num_classes)
    passed = {key: filled[key] if key in filled and value is None else value for key, value in options.items()}
    with inside_library(f"torchattacks{FAMILY}{kind.__name__}", ctx.seed, images.device):
        made = kind(Guarded(model), **passed)
        made.set_device(images.device)  # it asks the parameters, and a model may have none
        return made(images, labels)


def _member(name: str) -> AttackSpec:
    """The attack of the class of that name, its constructor's parameters as its options.

    Raises:
        KdbenchError: torchattacks can't be imported, it has no such class (the nearest is named), or the class needs
            more than a model, or bounds its changes in other norms.
    """
    library = installation.torchattacks()
    known = list(library.__all__)
    if name not in known:
        folded = {one.lower(): one for one in known}
        near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
        advice = f"did you mean '{folded[near[0]]}'?" if near else f"known: {', '.join(sorted(known))}"
        raise KdbenchError(f"no attack of torchattacks named '{name}'", advice)
    kind = getattr(library, name)
    missing = _missing(kind)
    if missing is not None:
        raise KdbenchError(
            f"attack '{name}' of torchattacks can't be made from a model alone, it needs {missing}",
            "name one that can, e.g. PGD",
        )
    norms = _norms(kind)
    if not _fits(norms):
        raise KdbenchError(
            f"attack '{name}' of torchattacks looks for changes that are small in {' and '.join(norms)}, kdbench's in "
            f"{BALL}: clipped to that ball they say nothing of robustness",
            f"these fit: {', '.join(_members())}",
        )
    fields: dict[str, Any] = {
        key: (Any, None if key in FILLED else one.default) for key, one in _parameters(kind).items()
    }
    if "norm" in fields:
        fields["norm"] = (Literal["Linf"], BALL)
    restarts = None if "restarts" in fields else 1  # Pixle counts its own
    config = ConfigDict(extra="forbid", protected_namespaces=())
    schema = create_model(name, __config__=config, **(restarts_field(restarts) | fields))
    full = f"torchattacks{FAMILY}{name}"
    return AttackSpec(full, functools.partial(_candidates, kind), schema, inspect.getdoc(kind) or "", PAPER, restarts)


def _members() -> Iterable[str]:
    library = installation.torchattacks()
    kinds = {name: getattr(library, name) for name in sorted(library.__all__)}
    return [name for name, kind in kinds.items() if _missing(kind) is None and _fits(_norms(kind))]


def _norms(kind: Any) -> list[str]:
    """The norms in which a class can bound its changes, as its documentation says; [] for one that says none."""
    said = re.search(r"Distance Measure\s*:(.*)", inspect.getdoc(kind) or "")
    return re.findall(r"L(?:inf|\d+)", said[1]) if said else []


def _fits(norms: list[str]) -> bool:
    """Noise and no attack at all are bounded in none."""
    return BALL in norms or not norms


def _missing(kind: Any) -> str | None:
    """What the constructor needs beside a model, None when nothing."""
    without = [key for key, one in _parameters(kind).items() if one.default is one.empty]
    return None if "model" in inspect.signature(kind).parameters and not without else ", ".join(without)


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, but for the model."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(kind).parameters.items()
    return {name: parameter for name, parameter in found if name != "model" and parameter.kind in named}


PAPER = "https://arxiv.org/abs/2010.01950"

torchattacks = AttackSpec.family(
    "torchattacks",
    _member,
    _members,
    description="""Any attack class of torchattacks (Kim 2020; kdbench[attacks]), e.g. torchattacks:FGSM.

Options are the arguments of the class. Its radius, seed and number of classes are those of the call unless an option
names them. An attack of another norm (CW, DeepFool, PGDL2, JSMA, OnePixel, ...) is refused, and so is another ``norm``
as an option: clipping its examples to the L-infinity ball would undo it.""",
    paper=PAPER,
)
