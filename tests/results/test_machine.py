"""What differs between the machines of two runs of one specification."""

from __future__ import annotations

from kdbench.results.machine import differences, machine, other_bits
from tests.leaderboard.evidence import network, provenance

MADE = provenance("2026-01-02T03:04:05+00:00")


def test_the_same_machine_at_another_time_is_the_same() -> None:
    later = MADE.model_copy(update={"finished": "2027-01-02T03:04:05+00:00", "cpu_seconds": 1.0})
    assert differences(machine(MADE), machine(later)) == []


def test_threads_versions_and_processor_are_named() -> None:
    other = MADE.model_copy(update={"threads": 1, "torch": "2.12.0", "device_name": "another"})
    assert differences(machine(MADE), machine(other)) == [
        "machine another, not a processor", "threads 1, not 2", "torch 2.12.0, not 2.11.0",
    ]  # fmt: skip


def test_what_one_of_them_does_not_say_is_no_difference() -> None:
    said = MADE.model_copy(update={"interop_threads": 4})
    trained = network("a").model_copy(update={"threads": [2]})
    assert differences(machine(MADE), machine(said, [trained])) == []


def test_trainings_that_went_on_with_other_threads_are_named() -> None:
    one, two = (network("a").model_copy(update={"threads": threads}) for threads in ([1], [1, 2]))
    assert differences(machine(MADE, [one]), machine(MADE, [two])) == ["threads of training 1, 2, not 1"]


def test_the_files_of_kdbench_count_not_the_commit_where_both_are_known() -> None:
    old, new = (MADE.model_copy(update={"kdbench_commit": commit * 40, "kdbench_sha256": "a" * 64}) for commit in "01")
    assert differences(machine(old), machine(new)) == []
    edited = new.model_copy(update={"kdbench_sha256": "b" * 64})
    assert differences(machine(old), machine(edited)) == [f"kdbench {'b' * 40}, not {'a' * 40}"]


def test_only_a_processor_must_give_the_same_bits_again() -> None:
    here, gpu = machine(MADE), machine(MADE.model_copy(update={"device": "cuda"}))
    assert other_bits(here, here) == []
    assert other_bits(gpu, gpu) == ["device cuda, which may add in any order"]
    assert other_bits(here, gpu) == differences(here, gpu) != []
