"""What is there of a data set: all of it, a part of it, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kdbench.data.base import OWN_NAME, DataPlace, DatasetSpec, MissingDataError, check_counts, load_dataset
from kdbench.errors import KdbenchError


@dataclass(frozen=True)
class DataStatus:
    """What was found of one data set."""

    state: Literal["available", "incomplete", "missing", "broken"]
    """``incomplete``: there, but not whole, or not the set of that name. ``broken``: its plugin failed."""
    found: str
    """In words: the numbers of images, or what is wrong."""
    fix: str = ""
    """What to do about it; empty for ``available``."""


def data_status(spec: DatasetSpec, place: DataPlace) -> DataStatus:
    """Look for the data of a set, without downloading.

    The numbers of images are counted. A set whose plugin can't count them (``DatasetSpec.count``) is loaded.
    """
    here = replace(place, download=False)
    try:
        train, test = _counted(spec, here)
        check_counts(spec, train, test)
    except MissingDataError as error:
        return DataStatus("missing", error.message, error.hint)
    except KdbenchError as error:
        return DataStatus("incomplete", error.message, error.hint or OWN_NAME)
    except (Exception, SystemExit) as error:  # of a third party: it must not hide the other sets
        return DataStatus("broken", f"{type(error).__name__}: {' '.join(str(error).split())}", "tell its author")
    training = "" if train is None else f"{train:,} training, "
    return DataStatus("available", f"{training}{test:,} test images")


def _counted(spec: DatasetSpec, place: DataPlace) -> tuple[int | None, int]:
    if not spec.may_be_there(place):
        raise MissingDataError(f"the data of '{spec.name}' were not found", _where(spec))
    if spec.count is not None:
        return spec.count(place)
    dataset = load_dataset(spec, place)
    return dataset.facts.train, len(dataset.test)


def _where(spec: DatasetSpec) -> str:
    told = f"`kdbench describe dataset {spec.name}` says what it is; put it into KDBENCH_DATA_DIR"
    return next(iter(spec.ways), told)
