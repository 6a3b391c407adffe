"""The two networks of a method that trains two, each and on average, as papers on such methods tabulate them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from kdbench.errors import KdbenchError
from kdbench.results.comparison import estimate, shares
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard

if TYPE_CHECKING:
    from kdbench.methods.method import MethodSpec

NETWORKS = ("student", "peer")


class Peers(Task):
    """Accuracy on all test images of each of a method's two networks, and the mean of the two accuracies.

    The mean is what Han et al. 2018 or Li et al. 2023 report; a method's other scores are of one predictor. Both
    networks come from one training. The mean's interval is over test images, on each of which the two answer.
    """

    name = "peers"
    family = "natural"
    by_order = True
    needs_training = True
    shares = frozenset({"accuracy"})
    other_metrics = frozenset({"mean_accuracy"})
    lower_is_better = frozenset()
    setting_keys = frozenset({"network"})

    def predictors(self, method: MethodSpec) -> Mapping[str, Mapping[str, Any]]:
        found = {name: {"evaluate": name} for name in NETWORKS}
        try:
            for values in found.values():
                method.measured_with(values)
        except KdbenchError:
            raise KdbenchError(
                f"task '{self.name}' measures methods that train two networks, '{method.name}' does not",
                "leave the task out",
            ) from None
        return found

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        if not set(NETWORKS) <= set(ctx.networks):
            raise KdbenchError(
                f"task '{self.name}' found one network, expected the two of a training", "ask `kdbench run` for it"
            )
        correct = {name: ctx.correct_draws(ctx.networks[name], data.test) for name in NETWORKS}
        for name, values in correct.items():
            ctx.keep(name, values[0])
        student, peer = (values.double() for values in correct.values())
        both = (student + peer) / 2  # (D, n); one draw of a network that is not random goes with each of the other's
        mean = estimate(shares(both[0].cpu().numpy()))
        means = [mean.value, *both[1:].mean(1).tolist()]
        each = [ctx.share("accuracy", values, setting={"network": name}) for name, values in correct.items()]
        return [ctx.drawn("mean_accuracy", means, both.shape[1], (mean.ci_low, mean.ci_high)), *each]

    def headline(self, settings: Any) -> Headline:
        return Headline("mean of two", "mean_accuracy", results="[!i]*")  # both networks, and no index of a part

    def results_key(self, score: Score) -> str | None:
        return str(score.setting["network"]) if score.metric == "accuracy" else None

    def derives(self, score: Score) -> bool:
        return score.metric == "mean_accuracy"

    def audit(self, card: Scorecard) -> Iterable[Objection]:
        each = {score.setting.get("network"): score.value for score in card.select("accuracy")}
        for score in card.select("mean_accuracy"):
            if set(each) != set(NETWORKS):
                yield Objection(score, "value", "the accuracy of each of the two networks is missing")
            elif abs(score.value - sum(each.values()) / 2) > 1e-6:
                yield Objection(score, "value", f"{score.value:.6g} is not the mean of the two networks' accuracies")
