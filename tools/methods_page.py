"""docs/methods.md: what every installed first-party method says about itself, and what was measured of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.cli.describe import describe_entry
from kdbench.plugin.loader import load_plugins
from kdbench.results.comparison import Difference, Sample, difference, shares
from kdbench.results.wording import words
from tools.markdown import cell, prose, table

MEASURED = Path(__file__).parent / "data/methods.json"
REFERENCE = "ce"
MARGIN = 0.02
"""What a method that is not made for label noise may lose against cross-entropy."""
AGAINST_LABEL_NOISE = ("kdbench_baselines", "kdbench_nrd", "kdbench_sample_selection", "kdbench_smkd")
"""Packages of methods that are made for label noise,"""
REGULARISERS = (REFERENCE, "confidence-penalty", "label-smoothing")
"""but for these, which were made for clean labels."""

WHY_NOT = {
    "cni": "has too few steps to shrink its weights' published noise: at chance on clean labels without attack too",
    "corrupted-labels": "corrupts labels on top of those that are wrong already; it is there to train teachers",
    "katz-as-published": "has the slips of its code; two of its three seeds never leave the plateau they start on",
    "t-revision": "loses what its best epoch had; its authors keep the epoch that does best on noisy validation labels",
    "mae": "learns some of the classes only, in a training of this length; its best epoch is no better",
}
"""What is known of those that end below what is wanted; shown where they do."""

SAME = {("swap-top2", "kd"): "the teacher has learnt every training label by heart, so that no two classes are close"}
"""Why one method is another here; shown where all their results are the same."""


FOLLOWED = {
    "Noise rates.": """`co-teaching`, `co-teaching-plus`, `mentornet` and `cdr` take the nominal rate of a condition's
        noise, as their authors' code does, also where fewer labels are wrong: of inclusive noise of 40 % on ten
        classes 36 %, of asymmetric noise on CIFAR-10 half the rate. `noise_rate` gives them another.""",
    "Warm-ups in short suites.": """Published warm-ups, ramps and estimators are shares of a training here, so that
        they move with a suite's length. A tenth of 1,230 steps teaches a network nothing, though: those of
        `dividemix`, `co-teaching`, `co-teaching-plus`, `mentornet`, `forward`, `t-revision`, `joint` and `s2e` have
        at least `least_steps` (500), up to half of the training. Published budgets, of thousands of steps, are as
        they were. Not so what belongs to the end or the middle of a training, half of it or nearly: the last stage
        of `t-revision`, the ramps of `elr-plus`, the trust of `proselflc`, the threshold of `smkd-p`; nor the rise
        of DivideMix's lambda_u, which follows its warm-up. `mylc` has no schedule.""",
    "The last epoch counts.": """Authors of `dmi`, `t-revision` and `cdr` keep the epoch that does best on
        a part of the noisy training images. Here all are trained on and the last epoch counts, for everybody; only
        what DMI starts from is chosen so, by `early-stopping`, because DMI cannot undo what was memorised.""",
    "Learning rates.": """They and their fall are the suite's, unless a recipe has those of a paper that trains as the
        suite does. `dmi` has its own everywhere, constant: a suite's would undo its start. The constant rates of
        `joint-relabelling` (.08 and .03, for 70 % symmetric and 40 % asymmetric noise) were tuned for another
        network.""",
    "Photographs.": """WebVision and Food-101 are cut once, to the middle square of 224 (299) pixels, and training
        crops are taken from that. The sources take theirs from the file each time: GJS from WebVision's images of
        256 pixels on the shorter side, the code for Inception-ResNet-v2 after a resize to 320, Food-101 has files
        of up to 512. So the ends of a photograph are never seen (a quarter of the area at 4:3), and a crop is
        magnified more: by 1.14 on WebVision (1.07 at 299), by up to 2 on Food-101. Results on these suites may lie
        below the papers' for that reason, equally for all methods. Why: everything here rests on equal images in
        one mapped file, whose hash is in the record and which no epoch decodes again; label noise, indices,
        augmentation on the device and predictions for all training images come from it. Squares of 256 (320) would
        still lose the ends.""",
    "Guards inside logarithms.": """Those of GJS's code (1e-7) are kept where they change a gradient:
        `bootstrap-soft`, `gce`, `js`, `gjs`, `nrd`. ProSelfLC's 1e-6, added to p, is left out of `proselflc`,
        `mylc`, `smkd-s` and `smkd-p`: the papers' formulas have none, and with epsilon = 0 they are to be
        cross-entropy.""",
    "Averages of weights.": """The average that `nrd` measures on request (`evaluated=ema`) and those of `elr-plus`
        have batch norm statistics of their own, as in mean-teacher code: the student's are of other weights and
        other views.""",
}
"""What goes for several methods: where authors' code is followed, and where and why it is not."""


def first_party() -> dict[str, str]:
    """Method to package, of this distribution, not of one installed beside it."""
    methods = load_plugins().methods
    ours = [name for name in methods.names() if methods.origin(name).startswith("kdbench ")]
    targets = {name: methods.get(name).target for name in ours}
    return {
        name: getattr(target, "func", target).__module__.partition(".")[0] for name, target in sorted(targets.items())
    }


def made_for_label_noise() -> set[str]:
    """The methods that are to be better than cross-entropy where labels are wrong."""
    return {n for n, package in first_party().items() if package in AGAINST_LABEL_NOISE and n not in REGULARISERS}


def methods_page(measured: Mapping[str, Any] | None = None) -> str:
    """docs/methods.md."""
    found = json.loads(MEASURED.read_text()) if measured is None else measured
    plugins, packages = load_plugins(), first_party()
    chapters = []
    for package in sorted(set(packages.values())):
        described = [
            describe_entry(name, plugins.methods.get(name), "") for name in packages if packages[name] == package
        ]
        sections = [method_section(one, found["cost"].get(one["name"])) for one in described]
        chapters.append(f"## `{package}`\n\n" + "\n\n".join(sections))
    return f"""# The methods

All {len(packages)} that come with kdbench, from what `kdbench describe method NAME` says; q is the one-hot label,
p the student's prediction, H(a, b) = -sum a ln b. Losses are means over the batch.

{sources()}

{learning(found["learning"])}

{costs(found["cost"])}

{(chr(10) * 2).join(chapters)}

Written by `python -m tools.update`; `python -m tools.measure_methods` measures what is missing.
"""


def sources() -> str:
    """Where several methods follow their sources and where they do not, a paragraph each."""
    paragraphs = (prose(f"**{what}** {text}") for what, text in FOLLOWED.items())
    return "\n\n".join(["## What is as in the sources, and what is not", *paragraphs])


def method_section(described: Mapping[str, Any], cost: Mapping[str, Any] | None) -> str:
    """One method: idea, formula, what is ambiguous, what it needs, what it costs, parameters."""
    parts = [f"### {described['name']}", described["what"]]
    if paper := described["paper"]:
        parts.append(f"Paper: <{paper}>" if paper.startswith("https://") else f"Paper: {paper}")
    if described["needs"]:
        parts.append("Needs: " + "; ".join(f"`{role}`: {what}" for role, what in described["needs"].items()))
    if cost and described["name"] != REFERENCE:
        before = ", after the training of what it needs" if described["needs"] else ""
        parts.append(
            f"Cost per step: {cost['ratio']:.2f} times that of `{REFERENCE}` "
            f"({cost['lowest']:.2f}-{cost['highest']:.2f}){before}."
        )
    if described["parameters"]:
        rows = [
            [
                f"`{one['name']}`",
                f"`{words(one['default'], one['name'])}`",
                *(cell(one[key]) for key in ("range", "meaning")),
            ]
            for one in described["parameters"]
        ]
        parts.append(table(["parameter", "default", "range", "meaning"], rows))
    return "\n\n".join(parts)


def costs(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What the costs in the methods' sections are of."""
    done = [row for row in rows.values() if row]
    if not done:
        return "## What a step costs\n\nNot measured yet."
    one = done[0]
    text = f"""Of an optimiser step with all that a method does around it, in a short training after its first
epoch: wall time over that of `{REFERENCE}`, both timed in turn by one process; median over {one["rounds"]} rounds
(lowest-highest). Batches of {one["batch_size"]} random images of 32x32, 10 classes, student `{one["student"]}`, the
suite's teacher `{one["teacher"]}`, {machines(done)}. What a method needs trained before (a teacher,
candidates) is not in it: each section names that under "Needs"."""
    return f"## What a step costs\n\n{prose(text)}"


def machines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Devices, threads and versions of torch that numbers were measured with."""
    return "; ".join(
        sorted(
            {
                f"{row['device_name']}, {row['threads']} thread{'s' * (row['threads'] > 1)}, torch {row['torch']}"
                for row in rows
            }
        )
    )


def learning(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The table of accuracies after training on noisy labels."""
    finished = {name: done for name, seeds in rows.items() if (done := finished_runs(seeds))}
    reference = sample(finished[REFERENCE])
    lines = []
    for name in sorted(rows, key=lambda name: (-mean(finished.get(name, [])), name)):
        differs = difference(sample(finished[name]), reference) if name in finished and name != REFERENCE else None
        lines.append(learning_line(name, finished.get(name, []), len(rows[name]), differs))
    every = [run for runs in finished.values() for run in runs]
    commits = ", ".join(sorted({(run["commit"] or "unknown")[:7] + " (changed)" * bool(run["dirty"]) for run in every}))
    images = ", ".join(sorted({f"{run['n']:,}" for run in every}))
    text = f"""Suite `digits`, condition `sym-40`: {every[0]["epochs"]} epochs on 1,297 images, 40 % of them with a
wrong label, each method with its own defaults; n = seeds, each on the same {images} clean test images, 0 for a method
that was not run yet. Accuracy in percent: mean over seeds of the last epoch (standard deviation over seeds). "Best
epoch" is the mean of each run's highest, by which nobody may choose: what is missing from it at the end was learnt and
lost again, as wrong labels were learnt by heart. Difference to `{REFERENCE}` in points with its 95 % interval, over
seeds and test images, paired by image (`kdbench.results.comparison`); where a method has one seed, its interval leaves
out what other seeds would change. Wanted: methods that are made for label noise above `{REFERENCE}`, all others above
`{REFERENCE}` minus {100 * MARGIN:g} points. "Yes" and "no" are of the means; "surely" says that the whole interval, of
several seeds, is on that side, which one comparison in twenty is by chance. Nothing was tuned to get there. Measured
on {machines(every)}, at commit {commits}."""
    headings = ["method", "for label noise", "n", "accuracy", "best epoch", f"minus `{REFERENCE}`", "as wanted"]
    below = [name.strip("`") for name, *_, wanted in lines if "no**" in wanted]
    parts = ["## On digits with 40 % symmetric noise", prose(text), table(headings, lines), *remarks(below, finished)]
    return "\n\n".join(parts)


def remarks(below: Sequence[str], finished: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What is known of methods that end below what is wanted, and of those that are another here."""
    reasons = [f"- `{name}` {WHY_NOT[name]}." for name in below if name in WHY_NOT]
    if reasons:
        yield "Why not:"
        yield "\n".join(reasons)
    results = {name: [run["correct"] for run in runs] for name, runs in finished.items()}
    for (one, other), reason in SAME.items():
        if one in results and results[one] == results.get(other):
            yield f"`{one}` is `{other}` here, image by image: {reason}."


def finished_runs(seeds: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that did not diverge, by seed."""
    return [run for _, run in sorted(seeds.items(), key=lambda item: int(item[0])) if run["status"] == "finished"]


def sample(runs: Sequence[Mapping[str, Any]]) -> Sample:
    """Per-example results of several seeds, for a comparison."""
    packed = [np.frombuffer(bytes.fromhex(run["correct"]), dtype=np.uint8) for run in runs]
    return shares([np.unpackbits(bits, count=run["n"]) for bits, run in zip(packed, runs, strict=True)])


def mean(runs: Sequence[Mapping[str, Any]], key: str = "accuracy") -> float:
    """Over seeds; 0 for a method of which no run is there."""
    return statistics.fmean(run[key] for run in runs) if runs else 0.0


def learning_line(name: str, runs: Sequence[Mapping[str, Any]], tried: int, differs: Difference | None) -> list[str]:
    """One row of the table."""
    against = name in made_for_label_noise()
    spread = f" ({100 * statistics.stdev(run['accuracy'] for run in runs):.1f})" if len(runs) > 1 else ""
    failed = f", {tried - len(runs)} failed" if tried > len(runs) else ""
    return [
        f"`{name}`",
        "yes" if against else "no",
        f"{len(runs)}{failed}",
        f"{100 * mean(runs):.1f}{spread}" if runs else "-",
        f"{100 * mean(runs, 'peak'):.1f}" if runs else "-",
        f"{100 * differs.value:+.1f} ({100 * differs.ci_low:+.1f} to {100 * differs.ci_high:+.1f})" if differs else "-",
        verdict(differs, 0.0 if against else -MARGIN, tried, len(runs)) if name != REFERENCE else "-",
    ]


def verdict(differs: Difference | None, limit: float, tried: int, finished: int) -> str:
    """Whether a difference is above a limit, and whether its interval leaves a doubt; one seed always does."""
    if differs is None:
        return "**no**" if tried else "not run yet"
    sure = "surely " if finished > 1 and (differs.ci_low > limit or differs.ci_high <= limit) else ""
    return f"{sure}yes" if differs.value > limit else f"**{sure}no**"
