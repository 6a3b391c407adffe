"""Examples made on a random teacher, on the same teacher under pixel noise, and on its student, judged by all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import nn

import kdbench
from kdbench_smoothing.single_draws import RULE, AttackSettings, check_draws, how_judged, single, smoothed_within

NETWORKS = ("cni", "smoothed-cni", "student")
CNI_TEACHER = "use a suite whose teacher is trained by method cni, as katz"


class TransferMatrix(kdbench.Task):
    """Accuracy of three networks on PGD examples of each of them (Katz & Reches 2022, Table 3).

    ``cni`` is the suite's teacher, a network with random weights, judged by M votes; ``smoothed-cni`` has the same
    weights and, in each draw, Gaussian noise on the pixels, with which it was never trained; ``student`` is the
    student. Source ``none`` are the unattacked images. Zero start, per image the iterate with the lowest probability of
    the true class in a single forward pass. How the teacher is smoothed by itself is not used: votes over single draws.
    """

    name = "transfer_matrix"
    shares = frozenset({"accuracy", "conditional_accuracy"})
    lower_is_better = frozenset()

    class Settings(AttackSettings):
        """Budget of the attack, the images it is run on, and how random networks are judged."""

        input_sigma: Annotated[float, Field(gt=0)] = 0.25
        """Of the noise on the pixels of smoothed-cni, in [0, 1] and not clipped."""
        gradient_draws: Annotated[int, Field(ge=1)] = 8
        """Forward passes that a gradient is averaged over, on a random network; the paper has 1, which a check says."""
        votes: Annotated[int, Field(ge=1)] = 32
        """Fresh forward passes that a random network is judged by; the paper's M is 512."""

    def sources(self, settings: Any) -> Iterable[str]:
        return ("teacher",)

    def check_networks(self, settings: Any, methods: Mapping[str, str]) -> None:
        teacher = methods.get("teacher", "cni")
        if teacher != "cni":
            raise kdbench.KdbenchError(f"task '{self.name}' found a teacher trained by method {teacher}", CNI_TEACHER)

    def evaluate(
        self, predictor: nn.Module, data: kdbench.TestData, ctx: kdbench.EvaluationContext
    ) -> list[kdbench.Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        teacher = ctx.networks["teacher"]
        if smoothed_within(teacher) is None:
            raise kdbench.KdbenchError(f"task '{self.name}' found a teacher whose weights are not random", CNI_TEACHER)
        networks = (single(teacher, 0.0), single(teacher, settings.input_sigma), single(predictor))
        found = dict(zip(NETWORKS, networks, strict=True))
        how = {name: how_judged(one, images, settings.gradient_draws, settings.votes) for name, one in found.items()}
        check_draws({key: value for one in how.values() for key, value in one.items()}, len(labels), ctx)
        budget = settings.budget()
        scores: list[kdbench.Score] = []
        for number, (source, network) in enumerate(found.items()):
            drawn = {key: value for key, value in how[source].items() if key == "gradient_draws"}
            examples = kdbench.attacks.pgd_best_iterate(network, images, labels, **budget, **drawn)
            for target, judge in found.items():
                votes = {key: value for key, value in how[target].items() if key == "votes"}
                result = kdbench.attacks.judge_transfer(judge, images, examples, labels, **votes)
                setting = {"source": source, "target": target, **budget, **RULE, **drawn, **votes}
                scores += _scores(result, setting, ctx)
                if number == 0:
                    clean = result.clean_correct.cpu()
                    ctx.keep(f"none/{target}/correct", clean)
                    scores.append(ctx.share("accuracy", clean, setting={"source": "none", "target": target, **votes}))
            ctx.advance((number + 1) / len(found))
        return scores

    def results_key(self, score: kdbench.Score) -> str | None:
        key = f"{score.setting.get('source')}/{score.setting.get('target')}/correct"
        return key if score.metric == "accuracy" else None


def _scores(
    result: kdbench.attacks.TransferResult, setting: dict[str, Any], ctx: kdbench.EvaluationContext
) -> Iterator[kdbench.Score]:
    clean, adversarial = result.clean_correct.cpu(), result.adversarial_correct.cpu()
    ctx.keep(f"{setting['source']}/{setting['target']}/correct", adversarial)
    yield ctx.share("accuracy", adversarial, setting=setting)
    if clean.any():
        yield ctx.share("conditional_accuracy", adversarial[clean], setting=setting)
