"""The settings of a task, and what is checked of them against the data before anything is trained."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from kdbench.data import DataFacts
from kdbench.errors import KdbenchError

MOST = 10_000
"""Steps, restarts, draws or votes of an attack: what a record asks for is measured again, and has to end."""
TOP = 5
"""Classes that ``top5_accuracy`` looks at."""


class TaskSettings(BaseModel):
    """Base of a task's settings: frozen, unknown ones refused. Field docstrings say what they mean."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, str_max_length=1000
    )


class CorrectSettings(TaskSettings):
    """Of a task that counts correct answers."""

    top5: bool = False
    """Whether also to count the images whose true class is among the five largest logits, as ``top5_accuracy``."""


def check_top5(task: str, settings: CorrectSettings, classes: int) -> None:
    """Raise ``KdbenchError`` where ``top5`` would count every image."""
    if settings.top5 and classes <= TOP:
        raise KdbenchError(
            f"task '{task}': top5 found {classes} classes, expected more than {TOP}", "leave top5 out of its settings"
        )


def check_subset(task: str, settings: Any, data: DataFacts) -> None:
    """Raise ``KdbenchError`` where a suite asks for more test images than there are; a default means at most so many.

    ``settings``: with a field ``subset``, None for all test images.
    """
    asked = settings.subset if "subset" in settings.model_fields_set else None
    if asked is not None and data.test is not None and asked > data.test:
        raise KdbenchError(
            f"task '{task}' has subset {asked:,}, but '{data.name}' has {data.test:,} test images",
            f"say {data.test} or less in its settings, or leave it out",
        )
