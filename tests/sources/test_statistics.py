from __future__ import annotations

import pytest

from kdbench.errors import KdbenchError
from kdbench.sources.statistics import KNOWN, Numbers, normalisation

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        (None, None, None),
        ("none", None, None),
        (None, "none", None),
        ("none", "none", None),
        ("cifar10", None, CIFAR),
        (None, "cifar10", CIFAR),
        ("cifar10", "cifar10", CIFAR),
        ("cifar10", "0.2023,0.1994,0.2010", (CIFAR[0], (0.2023, 0.1994, 0.2010))),
        ("0.5", "imagenet", ((0.5,) * 3, KNOWN["imagenet"][1])),
        ("0.5", "0.25", ((0.5,) * 3, (0.25,) * 3)),
        ("0, 0, 0", "0.00392157", ((0.0,) * 3, (0.00392157,) * 3)),
        ([0.1, 0.2, 0.3], (1, 2, 3), ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))),
    ],
)
def test_what_is_asked_for(mean: Numbers | None, std: Numbers | None, expected: object) -> None:
    assert normalisation(mean, std) == expected


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ("0.5", None, "--mean was given without --std (give both, or a name: cifar10, cifar100, imagenet)"),
        (None, "0.5", "--std was given without --mean"),
        ("none", "0.5", "one is none, the other is not"),
        ("none", "cifar10", "one is none, the other is not"),
        ("cifar1", None, "no statistics named 'cifar1' (did you mean 'cifar10'?"),
        ("0.5,0.5", "1", "--mean got 0.5,0.5, expected 3 finite numbers"),
        ("125.3,123.0,113.9", "63,62.1,66.7", "--mean has 125.3, expected means of pixels in [0, 1] (divide"),
        ("0.5", "0", "--std has 0.0, expected numbers above 0"),
        ("0.5", "1,1,-1", "--std has -1.0, expected numbers above 0"),
        ("nan", "1", "--mean got nan, expected 3 finite numbers"),
        ("0.5", "inf", "--std got inf, expected 3 finite numbers"),
        ("0.5", "a,b,c", "no statistics named 'a,b,c'"),
    ],
)
def test_what_is_none_is_one_line(mean: str | None, std: str | None, message: str) -> None:
    with pytest.raises(KdbenchError) as caught:
        normalisation(mean, std)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
