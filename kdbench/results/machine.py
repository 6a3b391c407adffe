"""What may give one specification other results: the machine, its threads and the versions that computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kdbench.results.record import Provenance, TrainedNetwork

SHOWN = 40
"""Characters of a value that are shown."""


def machine(made: Provenance, networks: Iterable[TrainedNetwork] = ()) -> dict[str, str]:
    """What is known of it, by name. Another processor or number of threads sums in another order, and training makes
    other weights of that.

    Args:
        made: where the scores were measured.
        networks: those that were measured; they may have been trained with another number of threads.
    """
    trained = sorted({threads for network in networks for threads in network.threads})
    facts = {
        "device": made.device,
        "machine": made.device_name,
        "threads": made.threads,
        "interop threads": made.interop_threads,
        "threads of training": ", ".join(map(str, trained)) or None,
        "Python": made.python,
        "torch": made.torch,
        "torchvision": made.torchvision,
        "numpy": made.numpy,
        "CUDA": made.cuda,
        # A commit says nothing of a changed checkout, and a hash was not always kept.
        "kdbench": made.kdbench_sha256 or made.kdbench_commit or made.kdbench_version,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """In words, where both are known: "threads 2, not 1"."""
    return [
        f"{name} {value[:SHOWN]}, not {ours[name][:SHOWN]}"
        for name, value in theirs.items()
        if name in ours and ours[name] != value
    ]
