"""The standard measurements, one file a task, and what a task author implements."""

from kdbench.results.headline import Headline
from kdbench.tasks.attack import Attack
from kdbench.tasks.base import EvaluationContext, Task, TestData
from kdbench.tasks.calibration import Calibration
from kdbench.tasks.clean import Clean
from kdbench.tasks.corruption import Corruption
from kdbench.tasks.noisy_label import NoisyLabel
from kdbench.tasks.ood import OutOfDistribution
from kdbench.tasks.ood_detection import OutOfDistributionDetection
from kdbench.tasks.peers import Peers
from kdbench.tasks.pgd import PGD
from kdbench.tasks.transfer import Transfer

__all__ = [
    "Attack",
    "EvaluationContext",
    "Headline",
    "OutOfDistributionDetection",
    "Peers",
    "Task",
    "TestData",
    "builtin_tasks",
]


def builtin_tasks() -> list[Task]:
    """The seven standard tasks. ``Attack``, ``OutOfDistributionDetection`` and ``Peers`` are not among them: they are
    measured on request."""
    return [Clean(), OutOfDistribution(), PGD(), Corruption(), NoisyLabel(), Calibration(), Transfer()]
