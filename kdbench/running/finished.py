"""A run that has its record, and what is said of one that is there already."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from kdbench.results.machine import differences, machine
from kdbench.results.record import Record
from kdbench.running import provenance
from kdbench.running.options import RunOptions
from kdbench.running.plan import Plan


@dataclasses.dataclass(frozen=True)
class Done:
    """A run that has its record."""

    record: Record
    path: Path
    whole: bool
    """Whether it was there already."""


def finished_notes(plan: Plan, record: Record, options: RunOptions) -> list[str]:
    """What is said where a run is there already."""
    return [*plan.notes(), *_made_elsewhere(record, plan.plugins.loaded, options.device)]


def _made_elsewhere(record: Record, plugins: Mapping[str, str], device: torch.device) -> Iterator[str]:
    """That a finished run was made by another machine, or with other threads or versions, than would make it here."""
    here = provenance.collect(plugins=plugins, device=device, started=provenance.utc_now(), seconds={})
    found = differences(machine(here), machine(record.provenance))
    if found:
        yield (
            f"note: run {record.run_id} is there already and is not run again. It was made with {'; '.join(found)} "
            "and may have other scores than one made here: --fresh trains and measures it here"
        )
