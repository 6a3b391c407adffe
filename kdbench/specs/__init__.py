"""What is to be done, as frozen values with one canonical form: suites, trainings, runs, and the hash of each."""

from kdbench.specs.recipe import LabelNoise, Recipe
from kdbench.specs.run import TRAINING_VERSION, RunSpec, Training
from kdbench.specs.suite import AttackBudget, Condition, NetworkSpec, Suite, TaskPlan, Watch
from kdbench.specs.values import GrowingSpec, Name, Spec, first_problem

__all__ = [
    "TRAINING_VERSION",
    "AttackBudget",
    "Condition",
    "GrowingSpec",
    "LabelNoise",
    "Name",
    "NetworkSpec",
    "Recipe",
    "RunSpec",
    "Spec",
    "Suite",
    "TaskPlan",
    "Training",
    "Watch",
    "first_problem",
]
