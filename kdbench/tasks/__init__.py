"""The standard measurements, one file a task, and what a task author implements."""

from kdbench.results.headline import Headline
from kdbench.tasks.attack import Attack
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.calibration import Calibration
from kdbench.tasks.clean import Clean
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.corruption import Corruption
from kdbench.tasks.memorisation import Memorisation
from kdbench.tasks.noisy_label import NoisyLabel
from kdbench.tasks.ood import OutOfDistribution
from kdbench.tasks.ood_detection import OutOfDistributionDetection
from kdbench.tasks.peers import Peers
from kdbench.tasks.pgd import PGD
from kdbench.tasks.softmax_magnitude import SoftmaxMagnitude
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
    "tasks_on_request",
]


def builtin_tasks() -> list[Task]:
    """The seven standard tasks."""
    return [Clean(), OutOfDistribution(), PGD(), Corruption(), NoisyLabel(), Calibration(), Transfer()]


def tasks_on_request() -> list[Task]:
    """Those that no suite has: they are measured where they are asked for by name."""
    return [Attack(), OutOfDistributionDetection(), Peers(), Memorisation(), SoftmaxMagnitude()]
