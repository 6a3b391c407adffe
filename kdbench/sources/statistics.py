"""Means and deviations of pixels, as numbers or by the name of the data set that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kdbench.errors import KdbenchError, unknown_name
from kdbench.models import Normalisation

NONE: Final = "none"
"""Pixels are not normalised."""
KNOWN: Final[dict[str, Normalisation]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Of the training pixels of each channel, in [0, 1]; ImageNet's are those that its networks are trained with."""
Numbers = str | Sequence[float]


def normalisation(mean: Numbers | None, std: Numbers | None) -> Normalisation | None:
    """What ``--mean`` and ``--std`` ask for: (mean, std) by channel, None where both are None or ``none``.

    Each is three numbers, one number for all channels, or a name of ``KNOWN``; a name given once stands for both.

    >>> normalisation("0.5", "0.5,0.5,0.25")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.25))

    Raises:
        KdbenchError: one without the other, an unknown name, or not three finite numbers with mean <= 1 and std > 0.
    """
    if NONE in (mean, std):
        if {mean, std} - {NONE, None}:
            raise KdbenchError("--mean and --std: one is none, the other is not", "give `--mean none` alone")
        return None
    if mean is None and std is None:
        return None
    first, second = _read("--mean", mean, 0), _read("--std", std, 1)
    first, second = first or _read("--mean", _name(std), 0), second or _read("--std", _name(mean), 1)
    if first is None or second is None:
        given, missing = ("--mean", "--std") if second is None else ("--std", "--mean")
        raise KdbenchError(f"{given} was given without {missing}", f"give both, or a name: {', '.join(KNOWN)}")
    if max(first) > 1:
        raise KdbenchError(
            f"--mean has {max(first)}, expected means of pixels in [0, 1]", "divide --mean and --std of 0 to 255 by 255"
        )
    if min(second) <= 0:
        raise KdbenchError(f"--std has {min(second)}, expected numbers above 0", "give deviations of pixels in [0, 1]")
    return first, second


def _name(value: Numbers | None) -> str | None:
    return value if isinstance(value, str) and value in KNOWN else None


def _read(option: str, value: Numbers | None, part: int) -> tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) and value in KNOWN:
        return tuple(KNOWN[value][part])
    try:
        numbers = tuple(float(one) for one in (value.split(",") if isinstance(value, str) else value))
    except ValueError:
        raise unknown_name("statistics", str(value), [*KNOWN, NONE], f"{option} takes three numbers, too") from None
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or not all(-1e6 < one < 1e6 for one in numbers):
        raise KdbenchError(f"{option} got {value}, expected 3 finite numbers", f"as {option} 0.5,0.5,0.5")
    return numbers
