"""Which network holds which tensor: what is trained once, and what a checkpoint must hold to be enough."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from kdbench.errors import KdbenchError

NAME = re.compile(r"[A-Za-z_]\w*")


def tensors_of(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers that a checkpoint of the network holds, by name."""
    yield from network.state_dict(keep_vars=True).items()


def is_trained(network: nn.Module) -> bool:
    """Whether any parameter asks for a gradient."""
    return any(parameter.requires_grad for parameter in network.parameters())


def check_owned(student: nn.Module, owned: Mapping[str, nn.Module]) -> None:
    """Raise unless ``networks()`` are modules under usable names that share nothing with each other or the student."""
    holders: dict[tuple[bool, int], tuple[str, str]] = {}
    for name, network in {"student": student, **owned}.items():
        if not isinstance(network, nn.Module):
            raise KdbenchError(f"networks()['{name}'] is a {type(network).__name__}", "give a torch.nn.Module")
        if not NAME.fullmatch(name) or (name == "student" and network is not student):
            raise KdbenchError(f"networks() names one '{name}'", "use a plain name; 'student' is the harness's")
        for key, tensor in tensors_of(network):
            # By its numbers' place in memory: two parameters may have the same ones.
            place = (True, tensor.data_ptr()) if tensor.numel() else (False, id(tensor))
            other, where = holders.setdefault(place, (name, key))
            if other != name:
                raise KdbenchError(
                    f"networks() '{name}' and '{other}' share a tensor ({key} is {other}'s {where})",
                    "copy.deepcopy it, make it with ctx.new_network, or compose it in predictor() alone",
                )


def check_predictor(predictor: object, student: nn.Module, owned: Mapping[str, nn.Module]) -> nn.Module:
    """The predictor, if it is a module whose every tensor the student or one of ``networks()`` holds."""
    if not isinstance(predictor, nn.Module):
        raise KdbenchError(f"predictor() returned a {type(predictor).__name__}", "return a torch.nn.Module")
    held = {id(tensor) for network in (student, *owned.values()) for _, tensor in tensors_of(network)}
    stray = [name for name, tensor in tensors_of(predictor) if id(tensor) not in held]
    if stray:
        raise KdbenchError(
            f"predictor() holds {len(stray)} tensors that no checkpoint would, such as {stray[0]}",
            "return ctx.student, one of networks(), or a module made of them",
        )
    if next(predictor.parameters(), None) is None:
        raise KdbenchError("predictor() has no parameters", "keep its networks as submodules, not in a plain list")
    return predictor
