"""What people's training scripts write, in a table: each container gives its weights."""

from __future__ import annotations

import argparse
import collections
import copy
import datetime
import functools
import types
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as to_safetensors
from torch.optim.swa_utils import AveragedModel

from kdbench.checkpoints import read_weights
from kdbench.errors import KdbenchError
from tests.checkpoints import network
from tests.checkpoints.network import (
    NETWORK,
    OTHER,
    STATE,
    Config,
    Level,
    Meter,
    Network,
    State,
    Written,
    legacy,
    write,
)


def prefixed(prefix: str, state: State = STATE) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def cast(dtype: torch.dtype) -> State:
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}


def stepped() -> tuple[Any, Any]:
    """State of an optimiser and of a schedule after one step."""
    network = Network()
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=9)
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    schedule.step()
    return optimiser, schedule


OPTIMISER, SCHEDULE = stepped()
SGD = OPTIMISER.state_dict()
LIGHTNING = {
    "epoch": 3,
    "global_step": 10,
    "pytorch-lightning_version": "2.5.0",
    "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
    "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "kth_value": torch.ones(2, 2)}},
    "optimizer_states": [SGD],
    "lr_schedulers": [SCHEDULE.state_dict()],
    "hparams_name": "kwargs",
    "hyper_parameters": Config(lr=0.1),
}
TIMM = {"arch": "resnet18", "args": argparse.Namespace(lr=0.1), "optimizer": SGD, "version": 2, "metric": 71.3}
AVERAGED = AveragedModel(NETWORK).state_dict()

RIGHT: dict[str, tuple[Written, str | None, tuple[str, ...], tuple[str, ...]]] = {
    # name: (content, chosen key, stripped prefixes, further notes)
    "a state dict": (STATE, None, (), ()),
    "an ordered state dict with its metadata": (NETWORK.state_dict(), None, (), ()),
    "of parameters with gradients": (NETWORK.state_dict(keep_vars=True), None, (), ()),
    "of torch before 1.6": (legacy(STATE), None, (), ()),
    "of torch before 1.6, with classes": (
        legacy({"net": STATE, "m": Meter()}),
        "net",
        (),
        (f"not read: objects of {network.__name__}.Meter",),
    ),
    "safetensors with another suffix": (to_safetensors(STATE, {"format": "pt"}), None, (), ()),
    "state_dict": ({"state_dict": STATE, "epoch": 3}, "state_dict", (), ()),
    "model and optimiser": ({"model": STATE, "optimizer": SGD, "lr_scheduler": SCHEDULE.state_dict()}, "model", (), ()),
    "net, with NumPy's numbers": (
        {
            "net": STATE,
            "acc": np.float64(93.2),
            "best": np.float32(1),
            "n": np.int64(3),
            "curve": np.arange(3.0),
            "ok": np.bool_(True),
        },
        "net",
        (),
        (),
    ),
    "model_state_dict": (
        {"epoch": 1, "model_state_dict": STATE, "optimizer_state_dict": SGD, "loss": torch.tensor(0.1)},
        "model_state_dict",
        (),
        (),
    ),
    "criterion_state_dict with weights of its own": (
        {"model_state_dict": STATE, "criterion_state_dict": {"centers.weight": torch.ones(3, 3)}},
        "model_state_dict",
        (),
        (),
    ),
    "the average alone": ({"state_dict_ema": STATE}, "state_dict_ema", (), ()),
    "a teacher alone": ({"teacher": prefixed("module."), "epoch": 3}, "teacher", ("module.",), ()),
    "DataParallel": (prefixed("module."), None, ("module.",), ()),
    "compiled": (prefixed("_orig_mod."), None, ("_orig_mod.",), ()),
    "compiled, then DataParallel": (prefixed("module._orig_mod."), None, ("_orig_mod.", "module."), ()),
    "parts compiled": (
        {
            **prefixed("_orig_mod.", {n: t for n, t in STATE.items() if n[0] == "c"}),
            **{n: t for n, t in STATE.items() if n[0] != "c"},
        },
        None,
        ("_orig_mod.",),
        (),
    ),
    "FSDP": (prefixed("_fsdp_wrapped_module."), None, ("_fsdp_wrapped_module.",), ()),
    "torch's average": (AVERAGED, None, ("module.",), ("left out: n_averaged",)),
    "Lightning": (
        {**LIGHTNING, "state_dict": prefixed("model.")},
        "state_dict",
        ("model.",),
        (f"not read: objects of {network.__name__}.Config",),
    ),
    "Lightning with a loss of its own": (
        {"state_dict": {**prefixed("net."), "criterion.weight": torch.ones(10)}},
        "state_dict",
        ("net.",),
        ("left out: criterion.weight",),
    ),
    "a distilled student": ({"state_dict": prefixed("module.student.")}, "state_dict", ("module.", "student."), ()),
    "arguments, paths, dates": (
        {"model": STATE, "args": argparse.Namespace(lr=0.1, out=Path("/runs"), at=datetime.datetime(2026, 1, 2))},
        "model",
        (),
        (f"not read: objects of argparse.Namespace, datetime.datetime, {PosixPath.__module__}.PosixPath",),
    ),
    "classes of one's own": (
        {"model": STATE, "meter": Meter(), "cfg": Config(a=Config(b=1)), "level": Level.LOW},
        "model",
        (),
        (f"not read: objects of {network.__name__}.Config, {network.__name__}.Level, {network.__name__}.Meter",),
    ),
    "containers of the standard library": (
        {
            "model": STATE,
            "d": collections.defaultdict(list, a=[1]),
            "c": collections.Counter("ab"),
            "s": types.SimpleNamespace(a=1),
            "r": range(3),
            "q": collections.deque([1, 2], 3),
            "p": functools.partial(Meter),
        },
        "model",
        (),
        ("not read: objects of functools.partial, types.SimpleNamespace",),
    ),
    "whole schedules and scalers": (
        {"model": STATE, "sched": SCHEDULE, "opt": OPTIMISER, "scaler": torch.amp.GradScaler("cpu")},
        "model",
        (),
        (),
    ),
    "half precision": (cast(torch.float16), None, (), ()),
    "bfloat16": (cast(torch.bfloat16), None, (), ()),
    "double precision": (cast(torch.float64), None, (), ()),
    "NumPy arrays": ({name: tensor.numpy() for name, tensor in STATE.items()}, None, (), ()),
    "nested": (
        {"checkpoint": {"model": {"state_dict": STATE}}, "meta": {"a": {"b": {"c": 1}}}},
        "checkpoint.model.state_dict",
        (),
        (),
    ),
    "a tuple": ((STATE, 3, 0.5), "0", (), ("weights of 0",)),
    "numbers among the tensors": ({**STATE, "epoch": 3, "acc": 0.3}, None, (), ("left out: epoch, acc",)),
    "extra state": ({**STATE, "fc._extra_state": None}, None, (), ("left out: fc._extra_state",)),
    "tensors beside the network": (
        {"model": STATE, "queue": torch.ones(8, 8), "centers": torch.ones(3)},
        "model",
        (),
        (),
    ),
    "the same weights twice": ({"state_dict": STATE, "model": copy.deepcopy(STATE)}, "state_dict", (), ()),
    "an average without names": (
        {"model": STATE, "ema": {"decay": 0.9, "shadow_params": [*STATE.values()]}},
        "model",
        (),
        ("left out: ema.shadow_params, tensors without names",),
    ),
    "views and turned tensors": (
        {
            n: t.t().contiguous().t()
            if t.ndim == 2
            else t.contiguous(memory_format=torch.channels_last)
            if t.ndim == 4
            else t
            for n, t in STATE.items()
        },
        None,
        (),
        (),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_weights_are_found(tmp_path: Path, name: str) -> None:
    content, key, stripped, notes = RIGHT[name]
    weights = read_weights(write(tmp_path / "a.pth", content))
    assert weights.state.keys() == STATE.keys()
    for wanted, tensor in weights.state.items():
        assert torch.allclose(tensor.double(), STATE[wanted].double(), atol=2e-3)
    assert (weights.key, weights.stripped) == (key, stripped)
    said = [f"weights of {key}"] if key else []
    said += [f"removed from all names: {', '.join(stripped)}"] if stripped else []
    assert weights.notes == (*said, *(note for note in notes if note not in said))


SEVERAL = {
    "timm's": ({**TIMM, "state_dict": STATE, "state_dict_ema": OTHER}, ("state_dict", "state_dict_ema")),
    "a pair in one state dict": (
        {"state_dict": {**prefixed("student."), **prefixed("teacher.", OTHER)}},
        ("state_dict.student", "state_dict.teacher"),
    ),
    "a pair at the top": (
        {**prefixed("module.model."), **prefixed("module.ema_model.", OTHER)},
        ("model", "ema_model"),
    ),
    "an average with its own keys": (
        {"model": {"state_dict": STATE}, "ema": {"state_dict": OTHER, "decay": 0.9}},
        ("model.state_dict", "ema.state_dict"),
    ),
    "ema_pytorch's": (
        {
            **prefixed("online_model."),
            **prefixed("ema_model.", OTHER),
            "initted": torch.tensor(True),
            "step": torch.ones(1),
        },
        ("online_model", "ema_model"),
    ),
    "a list of peers": ([STATE, OTHER], ("0", "1")),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_networks_one_must_be_chosen(tmp_path: Path, name: str) -> None:
    content, (first, second) = SEVERAL[name]
    path = write(tmp_path / "a.pth", content)
    with pytest.raises(KdbenchError) as caught:
        read_weights(path)
    assert str(caught.value) == (
        f"checkpoint {path} holds 2 networks: {first} (9 tensors), {second} (9 tensors) "
        f"(choose with --weights {first} or --weights {second})"
    )
    for key, state in ((first, STATE), (second, OTHER)):
        chosen = read_weights(path, key=key)
        assert chosen.key == key
        assert all(torch.equal(tensor, state[name]) for name, tensor in chosen.state.items())


def test_weights_that_are_there_twice_have_both_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", {"state_dict": STATE, "state_dict_ema": copy.deepcopy(STATE)})
    assert read_weights(path, key="state_dict_ema").key == "state_dict_ema"


def test_a_part_of_the_keys_chooses_where_it_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", SEVERAL["an average with its own keys"][0])
    assert read_weights(path, key="ema").key == "ema.state_dict"
    with pytest.raises(KdbenchError, match="no weights in checkpoint .*a.pth named 'state_dict'"):
        read_weights(path, key="state_dict")
    with pytest.raises(KdbenchError, match=r"named 'emma' \(known: ema.state_dict, model.state_dict"):
        read_weights(path, key="emma")
    with pytest.raises(KdbenchError, match="holds one network and no 'ema' .omit --weights"):
        read_weights(write(tmp_path / "b.pth", STATE), key="ema")
