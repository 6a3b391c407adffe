"""Prefixes that wrappers and training frames put before a network's names, and how they are removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

WITHIN = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
"""Of torch.compile, FSDP, activation checkpointing and Lightning Fabric: anywhere in a name, never of a network."""

NETWORKS = {
    *("module", "model", "net", "network", "student", "teacher", "ema", "ema_model", "ema_net", "ema_network"),
    *("model_ema", "net_ema", "averaged_model", "swa_model", "avg_model", "average", "student_model", "teacher_model"),
    *("model_s", "model_t", "model_student", "model_teacher", "net1", "net2", "model1", "model2", "online", "target"),
    *("student_net", "teacher_net", "peer", "_model", "base_model", "wrapped_model", "encoder_q", "encoder_k"),
    *("online_encoder", "target_encoder", "online_network", "target_network", "online_model", "target_model"),
    *("generator", "discriminator"),
}
"""First parts of a name that stand for a whole network."""

AROUND = {
    *("criterion", "loss", "loss_fn", "loss_func", "metric", "metrics", "train_acc", "val_acc", "test_acc"),
    *("train_accuracy", "val_accuracy", "test_accuracy", "accuracy", "train_metrics", "val_metrics", "test_metrics"),
    *("mixup_fn", "augment", "transform", "queue", "queue_ptr"),
}
"""First parts of a name that are no part of any network."""


def networks_in(state: Mapping[str, Tensor]) -> list[str]:
    """First parts of the names that stand for whole networks, where all names are of those or of what is around them.

    >>> import torch
    >>> networks_in({"student.w": torch.ones(2, 2), "teacher.w": torch.ones(2, 2), "loss.w": torch.ones(2)})
    ['student', 'teacher']
    >>> networks_in({"model.w": torch.ones(2, 2), "head.w": torch.ones(2, 2)})
    []
    """
    counters = {name for name, tensor in state.items() if "." not in name and tensor.numel() == 1}
    first = {name.partition(".")[0] for name in state} - AROUND - counters
    if not first <= NETWORKS:
        return []
    weighty = {name.partition(".")[0] for name, tensor in state.items() if tensor.ndim >= 2 and "." in name}
    return [part for part in dict.fromkeys(name.partition(".")[0] for name in state) if part in weighty & NETWORKS]


def strip(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...], list[str]]:
    """The tensors under names without wrappers, the prefixes that were removed, and the names that were left out."""
    stripped = [part for part in WITHIN if any(part in name for name in state)]
    found = {_without(name, stripped): tensor for name, tensor in state.items()}
    left_out: list[str] = []
    while len(parts := networks_in(found)) == 1:
        prefix = f"{parts[0]}."
        left_out += [name for name in found if not name.startswith(prefix)]
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        stripped.append(prefix)
    return found, tuple(stripped), left_out


def _without(name: str, parts: Iterable[str]) -> str:
    for part in parts:
        name = name.replace(part, "")
    return name
