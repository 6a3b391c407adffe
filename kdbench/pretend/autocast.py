"""Autocast on the pretend accelerator: which operations it rounds, and which it keeps exact, as on CUDA.

Source: torch's documentation, "Autocast Op Reference", the lists for CUDA that networks and losses meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

NAME = "accel"
KEY = "AutocastPrivateUse1"
ROUNDED = ("conv1d", "conv2d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "prelu")
EXACT = (
    "softmax.int", "log_softmax.int", "cross_entropy_loss", "nll_loss", "nll_loss_nd", "kl_div", "mse_loss", "l1_loss",
    "smooth_l1_loss", "binary_cross_entropy_with_logits", "cosine_similarity", "softplus", "exp", "log", "log1p",
    "log10", "log2", "expm1", "reciprocal", "rsqrt", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "sum",
    "sum.dim_IntList", "prod", "cumsum", "norm.Scalar", "norm.ScalarOpt_dim", "layer_norm", "group_norm", "dist",
    "cdist",
)  # fmt: skip
_registered: list[torch.library.Library] = []


def register() -> None:
    """Tell torch, once, what autocast does on the pretend accelerator."""
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for name in ROUNDED:
        library.impl(name, _casting(name, None), KEY)
    for name in EXACT:
        library.impl(name, _casting(name, torch.float32), KEY)
    _registered.append(library)


def _casting(name: str, dtype: torch.dtype | None) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
    excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, KEY))

    def called(*args: Any, **kwargs: Any) -> Any:
        target = dtype or torch.get_autocast_dtype(NAME)

        def cast(one: Any) -> Any:
            eligible = isinstance(one, Tensor) and one.device.type == NAME and one.is_floating_point()
            return one.to(target) if eligible and one.dtype != torch.float64 else one

        with torch._C._ExcludeDispatchKeyGuard(excluded):
            return operation(*tree_map(cast, args), **tree_map(cast, kwargs))

    return called
