"""Leaderboards out of thin air: what the ranking would make of records, small or large, tame or hostile."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.corruptions import NAMES
from kdbench.data.cifar import CIFAR10
from kdbench.leaderboard.board import Axis, Board, Boards, Cell, Pairs, Row
from kdbench.leaderboard.marks import marks
from kdbench.leaderboard.placing import family_ranks, weighted
from kdbench.leaderboard.ranks import rank_ranges
from kdbench.metrics import wilson_interval
from kdbench.results.comparison import from_intervals
from kdbench.results.evidence import Evidence, Excluded
from kdbench.results.record import Check, Hashes, Provenance, Record, Score, TrainedNetwork
from kdbench.specs import RunSpec
from kdbench.suites import load_suite

SUITE = load_suite("cifar10-lite")
N = 2000
AXES = (
    Axis("clean/clean", "clean", "clean", "clean", "accuracy", {}, "fraction", True, "natural"),
    Axis("clean/ood", "OOD", "clean", "ood", "accuracy", {"dataset": "ood-imagenet"}, "fraction", True, "natural"),
    Axis("clean/pgd", "PGD-20", "clean", "pgd", "robust_accuracy", {"variant": "pgd-std", "steps": 20, "rule": "worst"},
         "fraction", True, "adversarial"),
    Axis("clean/corruption", "mCA", "clean", "corruption", "mca", {"images": "generated"}, "fraction", True,
         "corruptions"),
    Axis("clean/transfer", "transfer", "clean", "transfer", "accuracy", {"source": "teacher"}, "fraction", True,
         "corruptions", counts=False),
    Axis("clean/calibration", "ECE", "clean", "calibration", "ece", {"bins": 15}, "fraction", False, "calibration"),
    Axis("sym-40/noisy_label", "noisy sym-40", "sym-40", "noisy_label", "accuracy", {}, "fraction", True,
         "noisy labels"),
    Axis("sym-40/calibration", "noisy ECE", "sym-40", "calibration", "ece", {"bins": 15}, "fraction", False,
         "noisy calibration"),
)  # fmt: skip


def share(task: str, metric: str, condition: str, value: float, better: bool = True, **setting: Any) -> Score:
    """A score of ``N`` examples with its interval."""
    value = round(min(1.0, max(0.0, value)) * N) / N
    low, high = wilson_interval(value * N, N)
    return Score(
        task=task, metric=metric, condition=condition, setting=setting, value=value, n=N, ci_low=low, ci_high=high,
        higher_is_better=better,
    )  # fmt: skip


def scores(rng: np.random.Generator, level: float) -> list[Score]:
    """A whole record's: headlines, accuracy against steps, corruptions, transfer."""
    found = [share("pgd", "accuracy_at_step", "clean", level * np.exp(-k / 3), variant="pgd-std", steps=k, rule=rule)
             for rule in ("last", "any") for k in range(21)]  # fmt: skip
    found += [share("corruption", "accuracy", "clean", level - 0.05 * severity + 0.1 * rng.random(), corruption=name,
                    severity=severity, images="generated") for name in NAMES for severity in range(1, 6)]  # fmt: skip
    for source in ("teacher", "reference", "self"):
        for metric in ("accuracy", "conditional_accuracy"):
            found.append(share("transfer", metric, "clean", level / 4, source=source))
    return found


def record(method: str, seed: int, headline: Sequence[Score], rng: np.random.Generator, **changes: Any) -> Record:
    """A finished record around its headline scores."""
    conditions = list(SUITE.conditions)
    spec = RunSpec(
        suite=changes.get("suite", SUITE), method=method, method_source="0" * 64,
        params=changes.get("params", {name: {"view": "suite"} for name in conditions}),
        recipes={name: condition.recipe for name, condition in SUITE.conditions.items()}, trainings={}, seed=seed,
        tasks=dict.fromkeys(SUITE.tasks, 1), datasets={"cifar10": CIFAR10.sha256}, corruption_images="generated",
    )  # fmt: skip
    text = changes.get("text", "EPYC")
    network = TrainedNetwork(training="0" * 16, sha256="1" * 64, precision="float32", seconds=90.0, reused=False)
    check = Check(
        name=changes.get("text", "large_eps"), task="pgd", condition="clean", passed=False, value=0.1, limit=0.0, n=100,
        flags=["pgd"], meaning=changes.get("text", "images survive an eps of 0.5"),
    )  # fmt: skip
    return Record(
        run_id=spec.run_id, status="failed" if changes.get("error") else "finished", error=changes.get("error"),
        spec=spec, params_passed=changes.get("passed", {}), scores=[*headline, *scores(rng, headline[0].value)],
        checks=[check] if changes.get("doubt") else [],
        provenance=Provenance(
            kdbench_version="0.1.0", kdbench_commit="a" * 40, kdbench_dirty=False, plugins={"kdbench:builtin": text},
            python="3.11.7", torch="2.15.0", torchvision="0.29", numpy="2.4", cuda=None, device="cpu", device_name=text,
            threads=2, platform=text, started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:10:00+00:00",
            seconds={"train/clean/student": 90.0, "evaluate/clean/pgd": 20.0}, cpu_seconds=200.0,
            peak_memory_bytes=2**31, peak_device_memory_bytes=None,
        ),
        hashes=Hashes(
            datasets={"cifar10": CIFAR10.sha256}, sources={"cifar10": text}, label_noise={},
            students=dict.fromkeys(conditions, network), networks={}, subsets={}, evidence={"log.jsonl": "2" * 64},
        ),
    )  # fmt: skip


def evidence(made: Record, rng: np.random.Generator) -> Evidence:
    """A record with a log, of 40 epochs at most, and predictions."""
    log: list[dict[str, Any]] = [
        {"condition": name, "epoch": epoch, "loss": 2 / epoch, "lr": 0.1, "seconds": 1.0, "test_n": N, "exchanged": 3.0,
         "test_accuracy": 0.5 + 0.3 * np.sin(epoch / 8)}
        for name, condition in SUITE.conditions.items() for epoch in range(1, min(40, condition.recipe.epochs) + 1)
    ]  # fmt: skip
    confidence = rng.uniform(0.2, 1, N).astype(np.float32)
    correct = rng.random(N) < 0.9 * confidence
    predictions = {"clean/calibration/confidence": confidence, "clean/clean/correct": correct}
    return Evidence(made, Path("record.json"), tuple(log), predictions)


def row(title: str, key: str, levels: Sequence[float], seeds: int = 3, *, bare: bool = False, **changes: Any) -> Row:
    """A method whose seeds scatter about the given levels; ``bare`` leaves its evidence out."""
    rng = np.random.default_rng(abs(hash(tuple(levels))) % 2**32)
    by_seed = [
        [share(axis.task, axis.metric, axis.condition, level + 0.01 * rng.standard_normal(), axis.higher_is_better,
               **axis.setting) for axis, level in zip(AXES, levels, strict=False)]
        for _ in range(seeds)
    ]  # fmt: skip
    runs = [] if bare else [
        evidence(record(title, seed, found, rng, **changes), rng) for seed, found in enumerate(by_seed)
    ]  # fmt: skip
    cells = {}
    for number, axis in enumerate(AXES[: len(levels)]):
        values = [found[number].value for found in by_seed]
        value = float(np.mean(values))
        flags = ("images survive an eps of 0.5",) if changes.get("doubt") and axis.task == "pgd" else ()
        per_seed = tuple(enumerate(found[number] for found in by_seed))
        low, high = max(0, value - 0.02), min(1, value + 0.02)
        cells[axis.key] = Cell(
            value=value, ci_low=low, ci_high=high, basis="seeds and examples", n=N, per_seed=per_seed,
            sample=from_intervals([value] * seeds, [low] * seeds, [high] * seeds, n=N), contradicted=False, flags=flags,
            rank=1, last_rank=1,
        )  # fmt: skip
    return Row(
        key, title, title, changes.get("passed", {}), changes.get("family", "baselines"),
        changes.get("paper", "https://arxiv.org/abs/1503.02531"), changes.get("summary", "A method of tests."),
        "standard", tuple(runs), (), cells, None,
    )  # fmt: skip


def board(rows: Sequence[Row], suite: str = "cifar10-lite", key: str = "cifar10-lite", **changes: Any) -> Board:
    """Rows ranked by their estimates: what is 0.03 better counts as significantly better."""
    pairs: dict[str, Pairs] = {}
    ranks: dict[tuple[str, str], tuple[int, int]] = {}
    for axis in AXES:
        sign = 1 if axis.higher_is_better else -1
        value = np.array([r.cells[axis.key].value if axis.key in r.cells else np.nan for r in rows])
        clear = np.array([axis.key in r.cells and not r.cells[axis.key].flags for r in rows])
        several = np.array([axis.key in r.cells and not r.cells[axis.key].one_seed for r in rows])
        difference = value[:, None] - value[None, :]
        better = (sign * difference > 0.03) & clear[:, None] & several[:, None] & several
        half = np.where(np.isnan(difference), np.nan, 0.025)
        p_value = np.where(several & several[:, None], np.where(np.abs(difference) > 0.03, 1e-4, 0.4), np.nan)
        pairs[axis.key] = Pairs(difference, half, p_value, better | better.T, ~np.isnan(difference))
        scored = [number for number, r in enumerate(rows) if axis.key in r.cells]
        cells = [rows[number].cells[axis.key] for number in scored]
        flagged = np.array([bool(cell.flags) for cell in cells], dtype=int)
        few = np.array([cell.few_seeds for cell in cells], dtype=bool)
        for number, ends in zip(scored, rank_ranges(better[np.ix_(scored, scored)], flagged, few), strict=True):
            ranks[rows[number].key, axis.key] = ends
    found = {axis.key: marks(axis, [r.cells.get(axis.key) for r in rows], pairs[axis.key]) for axis in AXES}
    ranked = []
    for r in rows:
        cells = {
            key: dataclasses.replace(cell, rank=first, last_rank=last, mark=found[key][len(ranked)])
            for key, cell in r.cells.items()
            for first, last in [ranks[r.key, key]]
        }
        whole = None
        if len(cells) == len(AXES):
            middle = [ranks[0] for ranks in family_ranks(AXES, cells).values()]
            whole = weighted(middle, [1.0] * len(middle))
        ranked.append(dataclasses.replace(r, cells=cells, mean_rank=whole))
    order = sorted(
        range(len(rows)), key=lambda i: (ranked[i].mean_rank is None, ranked[i].mean_rank or 0, rows[i].title)
    )
    turned = {name: p.in_order(order) for name, p in pairs.items()}
    return Board(
        suite, key, changes.get("title", SUITE.title), changes.get("why", SUITE.why), 2, {"clean": 1, "pgd": 2},
        changes.get("notes", ("Corruptions are generated.",)), AXES, tuple(ranked[i] for i in order), turned,
        changes.get("excluded", ()),
    )  # fmt: skip


LEVELS = {
    "ce": (0.81, 0.55, 0.0, 0.61, 0.08, 0.02, 0.32, 0.39),
    "kd": (0.83, 0.57, 0.0, 0.60, 0.01, 0.01, 0.35, 0.40),
    "nrd": (0.67, 0.43, 0.02, 0.51, 0.21, 0.06, 0.47, 0.07),
    "gce": (0.79, 0.53, 0.01, 0.59, 0.09, 0.06, 0.45, 0.15),
    "soft-randomization": (0.80, 0.54, 0.12, 0.64, 0.19, 0.04, 0.37, 0.33),
}


def small() -> Boards:
    """Five methods of two families, one doubtful and one incomplete, a second suite, files that are not ranked."""
    rows = [
        row(name, name, levels, family="losses" if name in ("ce", "gce") else "distillation",
            doubt=name == "soft-randomization", passed={"temperature": 8} if name == "kd" else {})
        for name, levels in LEVELS.items()
    ]  # fmt: skip
    rows.append(row("half", "half", (0.7, 0.5), seeds=1))
    excluded = Excluded(Path("old/record.json"), "schema 1 is older than 2", "0123456789abcdef", "cifar10-lite", "ce")
    other = board([row("ce", "ce", LEVELS["ce"], seeds=1)], "digits", "digits")
    stray = Excluded(Path("stray.json"), "no record: it has no schema_version")
    return Boards((board(rows, excluded=(excluded,)), other), (stray,))


def large(count: int) -> Boards:
    """Many methods with numbers alone."""
    rng = np.random.default_rng(0)
    rows = [
        row(f"method-{i:04d}", f"method-{i:04d}", rng.uniform(0.05, 0.9, 8).tolist(), bare=True) for i in range(count)
    ]
    return Boards((board(rows),), ())


HOSTILE = {
    "script": "<script>window.__pwned=1</script>",
    "close": "</script></style></title><script>window.__pwned=2</script>",
    "image": "\"><img src=x onerror='window.__pwned=3'>",
    "template": "{{ 7 * 7 }}{% raw %}",
    "turned": "\u202egnp.exe\u2066\u200f",
    "broken": "lone \ud800 surrogate \x00\x1b[31m",
    "long": "x" * 10_000,
    "wide": "W\u0300\u0301\u0302" * 500,
    "comment": "<!--<script>",
    "style": "</style><style>*{display:none}</style>",
}


def hostile() -> Boards:
    """Every text that a record can bring, one kind per method."""
    rows = []
    for key, text in HOSTILE.items():
        safe = text.encode("utf-8", "replace").decode()  # a record's own fields are valid Unicode
        rows.append(
            dataclasses.replace(
                row(
                    safe, key, [value * (0.9 + 0.01 * len(rows)) for value in LEVELS["ce"]], seeds=1, text=safe,
                    doubt=True, passed={safe: safe}, params={name: {safe: safe} for name in SUITE.conditions},
                    paper=f"javascript:window.__pwned=4//{text}",
                ),
                title=text, family=text, summary=text,
            )
        )  # fmt: skip
    bad = HOSTILE["image"] + HOSTILE["turned"] + HOSTILE["broken"]
    excluded = tuple(
        Excluded(Path(f"{text[:100]}.json".replace("/", "")), text, text, text, text) for text in HOSTILE.values()
    )
    return Boards((board(rows, suite=bad, title=bad, why=bad, notes=(bad,), excluded=excluded),), excluded)
