"""A SLURM cluster, through submitit: a study becomes job arrays with dependencies, which need nobody who watches.

All that is needed is ``sbatch``, ``squeue`` and a folder that the cluster's machines share; accounting (``sacct``) is
asked where there is some. Nothing of a cluster is written here: partition, account and the like are settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from kdbench.errors import KdbenchError
from kdbench.packages import extra, require
from kdbench.specs import Spec
from kdbench.studies.executors import settings_of
from kdbench.studies.study import read_values

if TYPE_CHECKING:
    from kdbench.running.options import RunOptions
    from kdbench.studies.executors.slurm.executor import SlurmExecutor
    from kdbench.studies.folder import StudyFolder
    from kdbench.studies.study import Study

PACKAGE = "executor slurm", "submitit", extra("slurm")


class SlurmSettings(Spec):
    """``[engine.slurm]`` of a study, or of the user's configuration."""

    partition: str | None = None
    """None: the cluster's own choice, as for ``account``."""
    account: str | None = None
    minutes: Annotated[int, Field(ge=5)] = 60
    """Time limit of a job. A node that takes longer is queued again and goes on from its last epoch."""
    requeues: Annotated[int, Field(ge=0)] = 20
    """How often a node may run out of its minutes."""
    gpus_per_node: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Of a job; None: the study's threads."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Of a job; None: the cluster's own choice."""
    array_parallelism: Annotated[int, Field(ge=1)] = 100
    """Jobs of one array that run at a time."""
    array_size: Annotated[int, Field(ge=1)] = 1000
    """Jobs of one array, below the cluster's ``MaxArraySize``."""
    setup: tuple[str, ...] = ()
    """Shell commands before the worker, such as ``module load cuda``."""
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    """Any other option of ``sbatch`` by its long name: ``qos = "low"``."""


def check_settings(settings: Mapping[str, Any]) -> SlurmSettings:
    """As for every engine."""
    require(*PACKAGE)
    return read_values("[engine.slurm]", SlurmSettings, settings)


def make(folder: StudyFolder, study: Study, options: RunOptions) -> SlurmExecutor:
    """As for every engine.

    Raises:
        KdbenchError: SLURM doesn't answer here, or GPUs are asked for by one of study and settings alone.
    """
    from kdbench.studies.executors.slurm.executor import SlurmExecutor
    from kdbench.studies.executors.slurm.queue import check_reachable

    settings = check_settings(settings_of(study, "slurm"))
    _check_device(settings, options.device.type)
    check_reachable()
    return SlurmExecutor(folder, settings, study.threads, options.device.type, options.place.data_dir)


def _check_device(settings: SlurmSettings, device: str) -> None:
    asks = settings.gpus_per_node > 0 or any(name.startswith(("gres", "gpus")) for name in settings.sbatch)
    if asks and device == "cpu":
        raise KdbenchError(
            "[engine.slurm] asks for GPUs, and this machine, where the study is planned, has none",
            "plan it on a machine that has: srun --gpus=1 kdbench sweep ...",
        )
    if not asks and device != "cpu":
        raise KdbenchError(
            f"the study is for device {device}, and [engine.slurm] asks for no GPU",
            "set gpus_per_node, or --device cpu",
        )


def queued(folder: StudyFolder) -> Mapping[str, str]:
    """What SLURM says of each node that it was given and that isn't done; nothing where it can't be asked."""
    from kdbench.studies.executors.slurm.batches import Batches
    from kdbench.studies.executors.slurm.queue import in_queue

    try:
        alive = in_queue(Batches(folder).users())
    except KdbenchError:
        return {}
    return {key: f"{alive[job].lower()} as job {job}" for key, job in Batches(folder).jobs().items() if job in alive}
