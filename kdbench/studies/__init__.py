"""Studies: methods x parameters x seeds as one graph of trainings and runs, and the engines that work it off."""

from kdbench.studies.study import Study, make_study, read_study

__all__ = ["Study", "make_study", "read_study"]
