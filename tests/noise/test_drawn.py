from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench import noise
from kdbench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from kdbench.errors import KdbenchError
from kdbench.noise import LabelNoiseSpec, drawn

MANY = 100_000
SPECS = {spec.name: spec for spec in drawn.specs()}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def balanced(num_classes: int, size: int = MANY) -> torch.Tensor:
    return torch.arange(size) % num_classes


def share(noisy: torch.Tensor, clean: torch.Tensor) -> float:
    return float((noisy != clean).double().mean())


# Nominal rate -> share of wrong labels, for 10 and 100 classes inclusive, and exclusive.
TABLE = {
    0.2: (0.18, 0.198, 0.2),
    0.4: (0.36, 0.396, 0.4),
    0.5: (0.45, 0.495, 0.5),
    0.6: (0.54, 0.594, 0.6),
    0.8: (0.72, 0.792, 0.8),
}


@pytest.mark.parametrize("rate", TABLE)
def test_symmetric_shares(rate: float) -> None:
    for num_classes, inclusive in ((10, TABLE[rate][0]), (100, TABLE[rate][1])):
        clean = balanced(num_classes)
        exclusive = noise.symmetric(clean, rate, num_classes, generator=seeded())
        assert share(exclusive, clean) == TABLE[rate][2]
        drawn = noise.symmetric(clean, rate, num_classes, generator=seeded(), definition="inclusive")
        # Three standard deviations of the number of draws that hit the label they had.
        spread = 3 * (rate / num_classes / MANY) ** 0.5
        assert share(drawn, clean) == pytest.approx(inclusive, abs=spread)


@pytest.mark.parametrize("definition", ["exclusive", "inclusive"])
def test_symmetric_targets_are_uniform(definition: noise.Definition) -> None:
    clean = torch.full((MANY,), 3)
    noisy = noise.symmetric(clean, 1.0, 5, generator=seeded(), definition=definition)
    counts = torch.bincount(noisy, minlength=5).double() / MANY
    expected = torch.full((5,), 0.2) if definition == "inclusive" else torch.tensor([0.25, 0.25, 0.25, 0.0, 0.25])
    assert torch.allclose(counts, expected.double(), atol=0.006)


def test_symmetric_bernoulli_count_varies_around_the_rate() -> None:
    clean = balanced(10, 10_000)
    shares = [
        share(noise.symmetric(clean, 0.3, 10, generator=seeded(seed), count="bernoulli"), clean) for seed in range(20)
    ]
    assert len(set(shares)) > 10
    assert np.mean(shares) == pytest.approx(0.3, abs=0.004)
    assert np.std(shares) == pytest.approx((0.3 * 0.7 / 10_000) ** 0.5, rel=0.6)


def test_chosen_samples_do_not_depend_on_position() -> None:
    noisy = noise.symmetric(torch.zeros(MANY, dtype=torch.int64), 0.5, 10, generator=seeded())
    halves = (noisy != 0).double().view(2, -1).mean(1)
    assert torch.allclose(halves, torch.tensor([0.5, 0.5]).double(), atol=0.01)


@pytest.mark.parametrize(("rate", "size", "expected"), [(0.29, 100, 29), (0.58, 50, 29), (0.35, 10, 3), (0.07, 100, 7)])
def test_exact_count_is_the_floor_of_the_decimal(rate: float, size: int, expected: int) -> None:
    assert noise.exact_count(rate, size) == expected


@pytest.mark.parametrize(("rate", "expected"), [(0.2, 0.1), (0.4, 0.2), (0.5, 0.25)])
def test_asymmetric_cifar10_share_and_targets(rate: float, expected: float) -> None:
    clean = balanced(10)
    noisy = noise.asymmetric_cifar10(clean, rate, generator=seeded())
    assert share(noisy, clean) == expected
    moved = {
        (CIFAR10_CLASSES[a], CIFAR10_CLASSES[b])
        for a, b in torch.stack([clean, noisy])[:, noisy != clean].T.unique(dim=0)
    }
    assert moved == {
        ("truck", "automobile"), ("bird", "airplane"), ("cat", "dog"), ("dog", "cat"), ("deer", "horse"),
    }  # fmt: skip
    for label in (2, 3, 4, 5, 9):
        assert share(noisy[clean == label], clean[clean == label]) == rate


def gjs_by_loops(clean: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    """The definition, one sample at a time, on labels that change under way."""
    labels = clean.copy()
    targets = {2: 0, 3: 5, 4: 7, 5: 3, 9: 1}
    for label in range(10):
        members = [i for i in range(len(labels)) if labels[i] == label]
        random.shuffle(members)
        for position, i in enumerate(members):
            if label in targets and position + 1 <= rate * len(members):
                labels[i] = targets[label]
    return labels


@pytest.mark.parametrize(("rate", "expected"), [(0.2, 0.096), (0.4, 0.184)])
def test_asymmetric_cifar10_gjs_share(rate: float, expected: float) -> None:
    clean = balanced(10)
    noisy = noise.asymmetric_cifar10(clean, rate, generator=seeded(), variant="gjs")
    assert share(noisy, clean) == pytest.approx(expected, abs=0.001)
    cats = clean == 3
    assert share(noisy[cats], clean[cats]) == pytest.approx(rate * (1 - rate), abs=0.01)
    by_loops = gjs_by_loops(clean.numpy(), rate, np.random.default_rng(0))
    ours = np.zeros((10, 10))
    theirs = np.zeros((10, 10))
    np.add.at(ours, (clean.numpy(), noisy.numpy()), 1)
    np.add.at(theirs, (clean.numpy(), by_loops), 1)
    assert np.abs(ours - theirs).max() < 0.02 * 10_000


@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_asymmetric_cifar100_share_and_superclasses(rate: float) -> None:
    clean = balanced(100)
    noisy = noise.asymmetric_cifar100(clean, rate, generator=seeded())
    assert int((noisy != clean).sum()) == int(rate * MANY)
    coarse = {
        CIFAR100_CLASSES.index(fine): number
        for number, group in enumerate(CIFAR100_SUPERCLASSES.values())
        for fine in group
    }
    assert all(coarse[a] == coarse[b] for a, b in zip(clean.tolist(), noisy.tolist(), strict=True))


def test_next_subclass_is_a_cycle_of_five() -> None:
    step = noise.next_subclass()
    label = torch.arange(100)
    for turns in range(1, 6):
        label = step[label]
        assert torch.equal(label, torch.arange(100)) == (turns == 5)


def test_next_subclass_is_alphabetical_and_not_by_blocks_of_five() -> None:
    step = noise.next_subclass()
    named = {fine: CIFAR100_CLASSES[step[index]] for index, fine in enumerate(CIFAR100_CLASSES)}
    assert named["baby"] == "boy"
    assert named["woman"] == "baby"
    assert named["aquarium_fish"] == "flatfish"
    assert named["apple"] == "mushroom"  # blocks of five labels would make apple the neighbour of baby and bear


def test_coarse_labels_are_the_official_ones() -> None:
    """Known pairs of the archive's fine and coarse labels, from its first training images."""
    groups = list(CIFAR100_SUPERCLASSES)
    coarse = {fine: groups.index(name) for name, group in CIFAR100_SUPERCLASSES.items() for fine in group}
    first = [(19, 11), (29, 15), (0, 4), (11, 14), (1, 1), (86, 5), (90, 18), (28, 3), (23, 10), (31, 11)]
    assert [coarse[CIFAR100_CLASSES[fine]] for fine, _ in first] == [number for _, number in first]


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.45])
def test_pair_flip(rate: float) -> None:
    clean = balanced(10)
    noisy = noise.pair_flip(clean, rate, 10, generator=seeded())
    assert share(noisy, clean) == pytest.approx(rate, abs=3 * (rate * (1 - rate) / MANY) ** 0.5)
    moved = noisy != clean
    assert torch.equal(noisy[moved], (clean[moved] + 1) % 10)
    assert 0 in noisy[clean == 9]


@pytest.mark.parametrize("rate", [0.5, 0.7])
def test_pair_flip_refuses_a_majority_of_wrong_labels(rate: float) -> None:
    with pytest.raises(KdbenchError, match=re.escape(f"below 0.5, found {rate}")):
        noise.pair_flip(balanced(10, 100), rate, 10, generator=seeded())


@pytest.mark.parametrize("name", SPECS)
@given(seed=st.integers(0, 2**31), rate=st.floats(0, 0.49), size=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_every_noise_is_a_pure_function(name: str, seed: int, rate: float, size: int) -> None:
    spec = SPECS[name]
    num_classes = spec.num_classes or 7
    clean = torch.randint(0, num_classes, (size,), generator=seeded(1))
    before = clean.clone()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert spec.apply is not None
    one = spec.apply(clean, rate, num_classes, seeded(seed))
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    torch.manual_seed(99)
    assert torch.equal(one, spec.apply(clean, rate, num_classes, seeded(seed)))
    assert torch.equal(clean, before), "the clean labels were changed"
    assert one.dtype == torch.int64
    assert one.shape == clean.shape
    assert all(0 <= label < num_classes for label in one.tolist())
    assert torch.equal(spec.apply(clean, 0.0, num_classes, seeded(seed)), clean)


@pytest.mark.parametrize("name", SPECS)
def test_seeds_matter(name: str) -> None:
    spec = SPECS[name]
    clean = balanced(spec.num_classes or 10, 1000)
    assert spec.apply is not None
    one, two = (spec.apply(clean, 0.4, spec.num_classes or 10, seeded(seed)) for seed in (0, 1))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_outside_the_unit_interval(name: str, rate: float) -> None:
    classes = SPECS[name].num_classes or 10
    with pytest.raises(KdbenchError, match=r"\[0, 1\], found"):
        noise.apply(SPECS[name], balanced(classes, 100), rate, classes, 0)


def test_labels_of_the_wrong_form() -> None:
    with pytest.raises(KdbenchError, match=r"torch\.int32"):
        noise.symmetric(balanced(10, 100).int(), 0.2, 10, generator=seeded())
    with pytest.raises(KdbenchError, match=r"\(10, 10\)"):
        noise.symmetric(balanced(10, 100).view(10, 10), 0.2, 10, generator=seeded())
    with pytest.raises(KdbenchError, match=r"in \[0, 9\], they range over \[0, 99\]"):
        noise.asymmetric_cifar10(balanced(100, 100), 0.2, generator=seeded())


def test_unknown_options() -> None:
    clean = balanced(10, 100)
    with pytest.raises(KdbenchError, match="exclusif"):
        noise.symmetric(clean, 0.2, 10, generator=seeded(), definition="exclusif")
    with pytest.raises(KdbenchError, match="about"):
        noise.symmetric(clean, 0.2, 10, generator=seeded(), count="about")
    with pytest.raises(KdbenchError, match="dirty"):
        noise.asymmetric_cifar10(clean, 0.2, generator=seeded(), variant="dirty")
    for noisy in (noise.symmetric, noise.pair_flip):
        with pytest.raises(KdbenchError, match="2 classes or more"):
            noisy(torch.zeros(5, dtype=torch.int64), 0.2, 1, generator=seeded())


def test_apply_reports_share_and_hash() -> None:
    clean = balanced(10, 1000)
    result = noise.apply(SPECS["symmetric"], clean, 0.4, 10, seed=3)
    assert torch.equal(result.labels, noise.symmetric(clean, 0.4, 10, generator=seeded(3)))
    assert result.realised == 0.4
    as_bytes = b"".join(int(label).to_bytes(8, "little", signed=True) for label in result.labels)
    assert result.sha256 == hashlib.sha256(as_bytes).hexdigest()
    assert noise.apply(SPECS["symmetric"], clean, 0.4, 10, seed=4).sha256 != result.sha256


@pytest.mark.parametrize("name", ["asymmetric-cifar10", "asymmetric-cifar10-gjs", "asymmetric-cifar100"])
def test_apply_checks_the_class_count(name: str) -> None:
    with pytest.raises(KdbenchError, match=r"is defined for 10+ classes, this dataset has 7"):
        noise.apply(SPECS[name], balanced(7, 100), 0.2, 7, 0)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (lambda labels: labels[:-1], r"returned torch.int64 \(99,\)"),
        (lambda labels: labels.float(), "returned torch.float32"),
        (lambda labels: labels + 1, r"outside \[0, 9\]"),
        (lambda labels: labels - 1, r"outside \[0, 9\]"),
        (lambda labels: labels.tolist(), "returned list"),
    ],
)
def test_apply_checks_what_a_plugin_returns(returned, expected: str) -> None:
    spec = LabelNoiseSpec("odd", lambda labels, rate, classes, generator: returned(labels))
    with pytest.raises(KdbenchError, match=f"'odd'.*{expected}"):
        noise.apply(spec, balanced(10, 100), 0.2, 10, 0)


def test_apply_shields_the_clean_labels_from_a_plugin_that_writes_in_place() -> None:
    clean = balanced(10, 100)
    spec = LabelNoiseSpec("in-place", lambda labels, rate, classes, generator: labels.fill_(0))
    result = noise.apply(spec, clean, 0.9, 10, 0)
    assert torch.equal(clean, balanced(10, 100))
    assert result.realised == 0.9
