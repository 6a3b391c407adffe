"""What the decorator makes of an attack, and what comes with kdbench."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench.attacks import builtin_specs, find_attack
from kdbench.attacks.spec import stages_of
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins


@kdbench.attack("probe", paper="https://example.org", restarts=3, batch_size=7)
def probe(
    model: Any,
    images: Tensor,
    labels: Tensor,
    ctx: kdbench.AttackContext,
    *,
    share: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Tensor:
    """First line.

    More.
    """
    return images * share


class Sized:
    """A class."""

    def __init__(self, *, size: int = 2) -> None:
        self.size = size

    def __call__(self, model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        return images + self.size


def test_the_decorator_reads_name_summary_and_parameters() -> None:
    assert isinstance(probe, kdbench.AttackSpec)
    assert (probe.name, probe.summary, probe.description) == ("probe", "First line.", "First line.\n\nMore.")
    assert (probe.paper, probe.batch_size, probe.written) == ("https://example.org", 7, "probe")
    assert probe.validate({}) == {"restarts": 3, "share": 0.5}
    assert probe.validate({"share": 1, "restarts": 2}) == {"restarts": 2, "share": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shar": 1}, "no option named 'shar' .did you mean 'share'. `kdbench describe attack probe` lists them"),
        ({"share": 1.5}, "attack 'probe', option share: input should be less than or equal to 1, found 1.5"),
        ({"restarts": 0}, "attack 'probe', option restarts: input should be greater than or equal to 1, found 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        probe.check(options)


def test_parameters_need_type_and_default_and_leave_the_cores_alone() -> None:
    with pytest.raises(KdbenchError, match="attack 'bad': parameter 'x' has no type or no default"):
        kdbench.attack("bad")(lambda model, images, labels, ctx, *, x: x)

    def own(model: Any, images: Tensor, labels: Tensor, ctx: Any, *, restarts: int = 2) -> Tensor:
        return images * restarts

    with pytest.raises(KdbenchError, match="attack 'bad': parameter 'restarts' is the core's"):
        kdbench.attack("bad")(own)
    alone = kdbench.attack("good", restarts=None)(own)
    assert alone.validate({}) == {"restarts": 2}
    assert alone.make({"restarts": 4})(None, 3, None, None) == 12  # it counts them itself


def test_a_function_gets_its_parameters_and_a_class_is_made_afresh() -> None:
    assert probe.make({"share": 0.25, "restarts": 3})(None, 8, None, None) == 2
    spec = kdbench.attack("sized")(Sized)
    one, other = spec.make({"size": 3, "restarts": 1}), spec.make({"size": 3, "restarts": 1})
    assert one is not other
    assert one(None, 1, None, None) == 4
    assert stages_of(one, 1) == ("",)


def test_what_an_attack_requires_is_asked_for_before_anything_is_trained() -> None:
    def missing() -> None:
        raise KdbenchError("library missing", "`pip install library`")

    spec = kdbench.attack("needy", requires=missing)(Sized)
    with pytest.raises(KdbenchError, match="pip install library"):
        spec.check({})
    with pytest.raises(KdbenchError, match="no option named 'sice'"):
        spec.check({"sice": 1})


def test_a_family_makes_its_members_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    family = kdbench.AttackSpec.family(
        "zoo", lambda name: kdbench.attack(f"zoo:{name}")(Sized), lambda: ["a", "b"], description="A zoo.\n\nMore."
    )
    monkeypatch.setitem(load_plugins().attacks._entries, "zoo", [(family, "test 1.0")])
    assert find_attack("zoo:b").name == "zoo:b"
    assert (family.written, family.summary) == ("zoo:MEMBER", "A zoo.")
    with pytest.raises(KdbenchError, match="'zoo' is a family of attacks .write 'zoo:MEMBER'"):
        find_attack("zoo").check({})


def test_the_built_in_attacks_come_through_the_hook_and_the_readme_lists_them() -> None:
    attacks = load_plugins().attacks
    names = {spec.name for spec in builtin_specs()}
    assert names == {name for name in attacks if attacks.origin(name).startswith("kdbench ")}
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = readme.partition("| attack | what it is |")[2].partition("\n\n")[0]
    assert {spec.written.replace("MEMBER", "CLASS") for spec in builtin_specs()} == set(
        re.findall(r"^\| `([^`]+)` \|", table, re.M)
    )
