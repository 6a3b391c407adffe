"""Measures tried before anything is trained: each task on an untrained network and a few images.

A score that no task gives, or a variant that a suite has not, is then an error in seconds and not a hole in a table
after hours.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kdbench import models
from kdbench.data import ImageSet
from kdbench.errors import KdbenchError, named, unknown_name
from kdbench.inference.prediction import freeze, predict
from kdbench.plugin.loader import Plugins
from kdbench.progress import say
from kdbench.reproducing.planning import Job
from kdbench.results.record import Score
from kdbench.results.wording import describe_setting, shared
from kdbench.running.evaluation import run_task
from kdbench.running.options import RunOptions
from kdbench.running.suite_data import SuiteData, image_part, load_suite_data, needed_data
from kdbench.specs import Suite
from kdbench.tasks import EvaluationContext

IMAGES = 10
"""That a task is tried on."""
MOST_SHOWN = 6
"""Settings that an error lists."""


def try_measures(name: str, jobs: Sequence[Job], options: RunOptions) -> None:
    """Raise ``KdbenchError`` for a cell whose score is none, or several, of its task's as a suite asks for it.

    A task that can't be tried so, as one that needs two trained networks, is named in a note. Of a setting, keys that
    only random networks have, as ``votes``, are left alone.
    """
    places: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        if job.cell.task:
            places.setdefault((job.suite.label, job.condition, job.cell.task), []).append(job)
    data: dict[str, SuiteData] = {}
    for (_, condition, task), same in places.items():
        plan = same[0].plan
        if plan.suite.dataset not in data:
            chosen = [one for job in jobs for one in job.plan.tasks.values() if job.suite.dataset == plan.suite.dataset]
            data[plan.suite.dataset] = load_suite_data(plan.suite, plan.plugins, options.place, **needed_data(chosen))
        try:
            scores = _scores(same[0], task, data[plan.suite.dataset])
        except (Exception, SystemExit) as failure:  # anybody's task, on a network and images that it was not made for
            say([f"note: '{name}': scores of task '{task}' under {condition} could not be tried: {named(failure)}"])
            continue
        for job in same:
            _check(name, job, scores)


def _scores(job: Job, task: str, data: SuiteData) -> list[Score]:
    """What a task gives for an untrained network that is right on every image, so that no score is left out."""
    chosen, settings = job.plan.tasks[task]
    classes = len(data.dataset.class_names)
    network = _untrained(job.suite, job.suite.student, job.plan.plugins, classes)
    test = _as_answered(network, data.test.test)
    ood = None if data.test.ood is None else _as_answered(network, data.test.ood)
    roles = {role: job.suite.network(role).model for role in chosen.sources(settings)}
    others = {role: _untrained(job.suite, model, job.plan.plugins, classes) for role, model in roles.items()}
    others |= dict.fromkeys(chosen.predictors(job.plan.plugins.methods.get(job.plan.method)), network)
    context = EvaluationContext(job.condition, torch.device("cpu"), None, networks=others)
    shown = dataclasses.replace(data.test, test=test, ood=ood)
    return run_task(chosen, settings, network, shown, context).scores


def _untrained(suite: Suite, model: str, plugins: Plugins, classes: int) -> nn.Module:
    normalisation = (suite.mean, suite.std) if suite.mean and suite.std else None
    built = models.build(plugins.models.get(model), num_classes=classes, normalisation=normalisation, seed=0)
    return freeze(built, torch.device("cpu"))


def _as_answered(network: nn.Module, images: ImageSet) -> ImageSet:
    """The first few images with the network's own answers for labels."""
    few = image_part(images, torch.arange(min(IMAGES, len(images))))
    answers = predict(network, few.images, device=torch.device("cpu")).argmax(1)
    return dataclasses.replace(few, labels=answers)


def _without(setting: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in setting.items() if key not in known}


def _check(name: str, job: Job, scores: Sequence[Score]) -> None:
    cell = job.cell
    where = f"'{name}', row '{cell.row}', column '{cell.column}'"
    metrics = {score.metric for score in scores}
    if cell.metric not in metrics:
        raise unknown_name(f"metric of task '{cell.task}'", cell.metric, metrics, f"in {where}")
    same = [score for score in scores if score.metric == cell.metric]
    if cell.unit == "percent" and same[0].unit != "fraction":
        raise KdbenchError(f"{where}: {cell.metric} is no fraction but in '{same[0].unit}'", 'write unit = "raw"')
    keys = {key for score in same for key in score.setting}
    for key in [*cell.setting, *([cell.over] if cell.over else [])]:
        if key not in keys and (key == cell.over or difflib.get_close_matches(key, keys, n=1, cutoff=0.6)):
            raise unknown_name(f"key in the setting of {cell.task}/{cell.metric}", key, keys, f"in {where}")
    known = {key: value for key, value in cell.setting.items() if key in keys}
    fitting = [score for score in same if known.items() <= score.setting.items()]
    over = [score.setting.get(cell.over) for score in fitting] if cell.over else fitting
    if not fitting or len(over) > (len(set(map(str, over))) if cell.over else 1):
        alike = shared([score.setting for score in same])
        settings = [describe_setting(_without(score.setting, alike)) for score in fitting or same]
        shown = "; ".join(settings[:MOST_SHOWN]) + ("; ..." if len(settings) > MOST_SHOWN else "")
        raise KdbenchError(
            f"{where}: {len(fitting)} scores of {cell.task}/{cell.metric} with "
            f"{describe_setting(cell.setting) or 'any setting'} on suite '{job.suite.label}', expected one",
            f"there are: {shown}",
        )
