"""PGD: equality with a public implementation, invariants, restarts."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import PGDResult, pgd
from kdbench.errors import KdbenchError

KS = (0, 1, 2, 3)


def attack(problem: Any, **changes: Any) -> PGDResult:
    """A setting in which restarts disagree and only some images break."""
    setting: dict[str, Any] = {"eps": 0.005, "step_size": 0.00125, "steps": KS, "restarts": 4}
    setting |= {"generator": torch.Generator().manual_seed(3), "full_restarts": True}
    return pgd(problem.model, problem.images, problem.labels, **(setting | changes))


def assert_same(one: PGDResult, other: PGDResult) -> None:
    assert torch.equal(one.clean_correct, other.clean_correct)
    for k in one.robust:
        assert torch.equal(one.robust[k], other.robust[k])
        assert torch.equal(one.survived[k], other.survived[k])
        assert torch.equal(one.run_correct[k], other.run_correct[k])
    assert torch.equal(one.zero_gradient_share, other.zero_gradient_share)


@pytest.mark.parametrize(
    ("eps", "step_size", "steps"),
    [(0.031, 2 / 255, 20), (0.031, 0.03, 20), (8 / 255, 2 / 255, 10), (0.005, 0.001, 7)],
    ids=["pgd-std", "pgd-arani", "defaults", "small"],
)
@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize("double", [True, False])
def test_examples_equal_those_of_torchattacks(
    problem: Any, eps: float, step_size: float, steps: int, random_start: bool, double: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a third party's import
        torchattacks = pytest.importorskip("torchattacks")
    model = problem.model.eval() if double else problem.model[1:].float().eval()
    theirs = torchattacks.PGD(model, eps=eps, alpha=step_size, steps=steps, random_start=random_start)
    torch.manual_seed(11)
    expected = theirs(problem.images, problem.labels)
    start: str | Tensor = "zero"
    if random_start:
        torch.manual_seed(11)
        start = (problem.images + torch.empty_like(problem.images).uniform_(-eps, eps)).clamp(0, 1)
    result = pgd(model, problem.images, problem.labels, eps=eps, step_size=step_size, steps=steps,
                 start=start, batch_size=100, keep_examples=True, fold=double)  # fmt: skip
    assert result.examples is not None
    assert torch.allclose(result.examples, expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        right = model(expected).argmax(dim=1) == problem.labels
    assert torch.equal(result.robust[steps], right)


def test_worst_case_run_table_and_iterate_rule_agree_with_a_naive_loop(problem: Any) -> None:
    eps, step_size = 0.005, 0.00125
    noise = torch.rand(3, *problem.images.shape, generator=torch.Generator().manual_seed(5)) * 2 * eps - eps
    starts = (problem.images + noise).clamp(0, 1)
    result = pgd(problem.model, problem.images, problem.labels, eps=eps, step_size=step_size, steps=KS, restarts=3,
                 start=starts, batch_size=100, full_restarts=True)  # fmt: skip
    model, right = problem.model.eval(), torch.zeros(3, 4, 41, dtype=torch.bool)  # run, iterate, image
    for run, x in enumerate(starts):
        for t in range(4):
            x = x.clone().requires_grad_(True)
            logits = model(x)
            right[run, t] = logits.argmax(dim=1) == problem.labels
            (gradient,) = torch.autograd.grad(nn.CrossEntropyLoss(reduction="sum")(logits, problem.labels), x)
            x = x.detach() + step_size * gradient.sign()
            x = (problem.images + (x - problem.images).clamp(-eps, eps)).clamp(0, 1)
    for k in KS:
        assert torch.equal(result.run_correct[k], right[:, k])
        assert torch.equal(result.robust[k], right[:, k].all(dim=0))
        assert torch.equal(result.survived[k], right[:, : k + 1].all(dim=1).all(dim=0))
        assert result.min_run(k) == min(run[k].double().mean().item() for run in right)
        assert result.mean(k) == pytest.approx(right[:, k].double().mean().item(), abs=1e-12)


def test_the_chosen_setting_tells_worst_case_runs_and_steps_apart(problem: Any) -> None:
    """Without this the invariants below could hold because nothing ever differs."""
    result = attack(problem)
    assert result.robust_accuracy(1) < result.min_run(1) < result.mean(1) < result.clean_accuracy()
    assert result.robust_accuracy(2) < result.robust_accuracy(1) < result.robust_accuracy(0) < result.clean_accuracy()


def test_invariants_of_the_worst_case(problem: Any) -> None:
    result = attack(problem, restarts=5)
    assert torch.equal(result.full_index, torch.arange(41))
    for k in KS:
        assert torch.equal(result.robust[k], result.run_correct[k].all(dim=0))
        assert result.robust_accuracy(k) <= result.min_run(k) <= result.mean(k)
        assert not bool((result.survived[k] & ~result.robust[k]).any())
    for before, after in itertools.pairwise(KS):
        assert not bool((result.survived[after] & ~result.survived[before]).any())
    assert torch.equal(result.any_iterate, result.survived[3])
    both = result.robust[1] & result.clean_correct
    assert result.conditional_accuracy(1) == pytest.approx(int(both.sum()) / int(result.clean_correct.sum()))


def test_any_iterate_rule_remembers_an_image_that_comes_back() -> None:
    """One pixel at .5, pushed up by .02 a step; the margin is negative around .52 alone, where x_1 is."""

    def model(images: Tensor) -> Tensor:
        moved = images.flatten(1).sum(dim=1) - 0.5
        margin = torch.where(moved < 0.03, 0.01 - moved, moved - 0.035 + 0.0 * moved)
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)

    result = pgd(model, torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long), eps=0.1, step_size=0.02,
                 steps=(0, 1, 2), start="zero")  # fmt: skip
    assert [bool(result.robust[k]) for k in (0, 1, 2)] == [True, False, True]
    assert [bool(result.survived[k]) for k in (0, 1, 2)] == [True, False, False]
    assert result.any_iterate_accuracy(2) == 0.0 < result.robust_accuracy(2) == 1.0


def test_any_iterate_accuracy_never_rises_with_eps_of_a_monotone_model() -> None:
    weights = torch.randn(2, 48, generator=torch.Generator().manual_seed(0))

    def model(images: Tensor) -> Tensor:
        return images.flatten(1) @ weights.T

    images = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = model(images).argmax(dim=1)
    shares = [
        pgd(model, images, labels, eps=eps, step_size=0.01, steps=10, start="zero").any_iterate_accuracy(10)
        for eps in (0.0, 0.01, 0.03, 0.06, 0.09)
    ]
    assert shares[0] == 1.0
    assert sorted(shares, reverse=True) == shares
    assert shares[-1] < 0.5


def test_linear_model_breaks_exactly_where_theory_says() -> None:
    """For a linear two-class model the L-infinity margin is |w.x| / ||w||_1, away from the borders of [0, 1]."""
    difference = torch.randn(48, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def model(images: Tensor) -> Tensor:
        score = (images.double() - 0.5).flatten(1) @ difference
        return torch.stack([score, -score], dim=1)

    images = 0.3 + 0.4 * torch.rand(200, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    score = (images.double() - 0.5).flatten(1) @ difference
    margin = score.abs() / difference.abs().sum()
    eps = float(margin.quantile(0.5)) + 1e-5
    result = pgd(model, images, (score < 0).long(), eps=eps, step_size=eps / 4, steps=10, restarts=2)
    assert torch.equal(result.robust[10], margin > eps)


@pytest.mark.parametrize("start", ["uniform", "zero"])
def test_examples_stay_in_the_ball_and_in_the_pixel_range(problem: Any, start: str) -> None:
    result = attack(problem, eps=0.1, step_size=0.07, start=start, keep_examples=True)
    assert result.examples is not None
    assert float((result.examples - problem.images).abs().max()) <= 0.1 + 1e-6
    assert float(result.examples.min()) >= 0.0
    assert float(result.examples.max()) <= 1.0


def test_examples_reproduce_the_worst_case(problem: Any) -> None:
    result = attack(problem, keep_examples=True, steps=1)
    with torch.no_grad():
        right = problem.model.eval()(result.examples).argmax(dim=1) == problem.labels
    assert torch.equal(right, result.robust[1])
    assert 0 < int(right.sum()) < int(result.run_correct[1].sum(dim=1).min())
    assert attack(problem).examples is None


def test_eps_zero_is_the_clean_accuracy_exactly(problem: Any) -> None:
    result = attack(problem, eps=0.0, batch_size=3, full_restarts=torch.tensor([2, 5]))
    expected = problem.model.eval()(problem.images).argmax(dim=1) == problem.labels
    assert torch.equal(result.clean_correct, expected)
    for k in KS:
        assert torch.equal(result.robust[k], expected)
        assert torch.equal(result.survived[k], expected)
        assert result.conditional_accuracy(k) == 1.0
        assert torch.equal(result.run_correct[k], expected[[2, 5]].expand(4, 2))
    assert result.stepped.tolist() == [0, 0, 0]
    assert result.zero_gradient_share.tolist() == [0, 0, 0]


def test_after_no_step_from_the_image_itself_the_answer_is_the_clean_one(problem: Any) -> None:
    result = attack(problem, steps=(0, 1), start="zero", restarts=1)
    assert torch.equal(result.robust[0], result.clean_correct)
    assert torch.equal(result.first_run[0], result.clean_correct)
    assert torch.equal(result.first_run[1], result.robust[1])


def test_an_attack_may_turn_a_wrong_image_right_and_only_the_unconditional_count_sees_it() -> None:
    def model(images: Tensor) -> Tensor:
        moved = images.flatten(1).sum(dim=1) - 0.5
        margin = torch.where(moved > 0.01, 1 - moved, -1 - moved)
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)

    result = pgd(model, torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long), eps=0.1, step_size=0.02,
                 steps=1, start="zero")  # fmt: skip
    assert result.clean_accuracy() == 0.0
    assert result.robust_accuracy(1) == 1.0
    with pytest.raises(KdbenchError, match="undefined"):
        result.conditional_accuracy(1)


def test_batch_size_changes_nothing(problem: Any) -> None:
    whole = attack(problem, batch_size=100)
    for batch_size in (1, 7, 41):
        assert_same(attack(problem, batch_size=batch_size), whole)


def test_the_same_generator_state_gives_the_same_bits_and_another_one_other_starts(problem: Any) -> None:
    one, again = attack(problem, keep_examples=True), attack(problem, keep_examples=True)
    assert torch.equal(one.examples, again.examples)
    other = attack(problem, keep_examples=True, generator=torch.Generator().manual_seed(4))
    assert not torch.equal(one.examples, other.examples)


def test_the_global_generator_is_neither_read_nor_moved(problem: Any) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = attack(problem, generator=None, keep_examples=True)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(one.examples, attack(problem, generator=None, keep_examples=True).examples)


def test_a_restart_starts_where_it_starts_however_many_there_are(problem: Any) -> None:
    five, two = attack(problem, restarts=5), attack(problem, restarts=2)
    for k in KS:
        assert torch.equal(five.run_correct[k][:2], two.run_correct[k])
    assert not torch.equal(five.run_correct[0][0], five.run_correct[0][1])


def test_broken_images_leave_without_changing_the_worst_case(problem: Any) -> None:
    everything = attack(problem)
    chosen = torch.tensor([40, 0, 3, 17])
    some, none = attack(problem, full_restarts=chosen), attack(problem, full_restarts=False)
    mask = torch.zeros(41, dtype=torch.bool)
    mask[chosen] = True
    assert_same(some, attack(problem, full_restarts=mask))
    for k in KS:
        for fewer in (some, none):
            assert torch.equal(fewer.robust[k], everything.robust[k])
            assert torch.equal(fewer.survived[k], everything.survived[k])
        assert torch.equal(some.run_correct[k], everything.run_correct[k][:, [0, 3, 17, 40]])
    assert some.full_index.tolist() == [0, 3, 17, 40]
    assert_same(none, attack(problem, full_restarts=torch.tensor([])))
    for ask in (none.min_run, none.mean):
        with pytest.raises(KdbenchError, match="no image went through every restart.*full_restarts=True"):
            ask(1)


def test_by_default_only_what_still_stands_is_attacked_again(problem: Any) -> None:
    """And a single restart is every restart."""
    setting: dict[str, Any] = {"eps": 0.005, "step_size": 0.00125, "steps": 3}
    several = pgd(problem.model, problem.images, problem.labels, restarts=4, **setting)
    first = pgd(problem.model, problem.images, problem.labels, restarts=1, **setting)
    assert len(several.full_index) == 0
    assert several.stepped.tolist() == sorted(several.stepped.tolist(), reverse=True)
    assert int(several.stepped[0]) < 4 * 41
    assert first.min_run(3) == first.mean(3) == first.robust_accuracy(3)


@pytest.mark.parametrize(("batch_size", "restarts"), [(10, [7, 7, 7, 7]), (20, [14, 14])])
def test_broken_images_cost_no_forward_pass(batch_size: int, restarts: list[int]) -> None:
    """And what is left of the restarts goes together where it fits one batch."""
    seen: list[int] = []

    def model(images: Tensor) -> Tensor:
        seen.append(len(images))
        first = images[:, 0, 0, 0]
        return torch.stack([2 * first, 2 - 2 * first], dim=1)

    images = torch.full((10, 1, 1, 1), 0.9)
    images[:4] = 0.1  # four are wrong from the beginning and stay wrong
    labels = torch.zeros(10, dtype=torch.long)
    pgd(model, images, labels, eps=0.01, step_size=0.01, steps=1, restarts=3, full_restarts=torch.tensor([0]),
        batch_size=batch_size)  # fmt: skip
    assert seen[:3] == [2, 2, 8]  # how it reads images, and what it answers
    assert seen[3:6] == [10, 10, 10]  # clean; first restart
    assert seen[-len(restarts) :] == restarts  # the six that stand and the one asked for
    looked = seen[6 : -len(restarts)]
    assert bool(looked) == (batch_size == 20)  # whether it is random, before restarts share a batch


def test_share_of_zero_gradients_counts_the_examples_of_each_step() -> None:
    def model(images: Tensor) -> Tensor:
        lit = (images[:, 0, 0, 0] > 0.5).float()  # only bright images pass a gradient on
        return torch.stack([lit * images.sum(dim=(1, 2, 3)), torch.full_like(lit, -1.0)], dim=1)

    images = torch.tensor([0.1, 0.2, 0.3, 0.53])[:, None, None, None].expand(4, 1, 1, 1).contiguous()
    result = pgd(model, images, torch.zeros(4, dtype=torch.long), eps=0.1, step_size=0.05, steps=2,
                 start="zero", batch_size=3)  # fmt: skip
    assert result.zero_gradient_share.tolist() == [0.75, 1.0]


def test_bytes_are_divided_by_255(problem: Any) -> None:
    stored = (problem.images * 255).round().to(torch.uint8)
    setting: dict[str, Any] = {"eps": 0.005, "step_size": 0.002, "steps": 2, "keep_examples": True}
    one = pgd(problem.model, stored, problem.labels, **setting)
    other = pgd(problem.model, stored.float() / 255, problem.labels.to(torch.uint8), **setting)
    assert torch.equal(one.examples, other.examples)


def test_gradient_draws_average_a_random_model_out() -> None:
    """The gradient of a draw is (g_true + z) for large random z; with many draws its sign is that of g_true."""
    generator = torch.Generator().manual_seed(8)

    def model(images: Tensor) -> Tensor:
        flat = images.flatten(1)
        noise = 3 * torch.randn(flat.shape[1], generator=generator)
        score = flat @ (torch.ones(flat.shape[1]) + noise) * 1e-3
        return torch.stack([score, -score], dim=1)

    images = torch.full((1, 3, 16, 16), 0.5)
    wrong = []
    for draws in (1, 64):
        result = pgd(model, images, torch.zeros(1, dtype=torch.long), eps=0.1, step_size=0.1, steps=1,
                     start="zero", gradient_draws=draws, keep_examples=True)  # fmt: skip
        assert result.examples is not None
        wrong.append(float((result.examples > 0.5).double().mean()))
    assert wrong[0] > 0.25
    assert wrong[1] < 0.02


def test_an_unknown_k_is_answered_with_the_known_ones(problem: Any) -> None:
    with pytest.raises(KdbenchError, match="k = 0, 1, 2, 3"):
        attack(problem).robust_accuracy(20)


@pytest.mark.parametrize("full", [True, False, torch.tensor([3, 9])])
def test_restarts_together_and_one_by_one_find_the_same(problem: Any, full: bool | Tensor) -> None:
    """Images are dropped at several k on the way; a batch of 41 keeps the restarts apart, one of 200 does not."""
    setting: dict[str, Any] = {"steps": (1, 2, 3), "restarts": 5, "full_restarts": full, "keep_examples": True}
    apart, together = attack(problem, batch_size=41, **setting), attack(problem, batch_size=200, **setting)
    assert_same(apart, together)
    assert torch.equal(apart.stepped, together.stepped)
    assert torch.equal(apart.zero_gradients, together.zero_gradients)
    assert torch.equal(apart.first_run, together.first_run)
    assert apart.examples is not None and together.examples is not None
    assert torch.allclose(apart.examples, together.examples, rtol=0, atol=1e-6)
    if full is False:
        assert apart.stepped.tolist() == sorted(apart.stepped.tolist(), reverse=True)
        assert apart.stepped[0] > apart.stepped[2]  # some were wanted up to a smaller k alone
