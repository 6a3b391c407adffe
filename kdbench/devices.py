"""Which device computes, and in what precision."""

from __future__ import annotations

import torch

from kdbench.errors import KdbenchError

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is a GPU, else the CPU; ``cuda`` without a GPU is an error."""
    if name not in DEVICES:
        raise KdbenchError(f"no device named '{name}'", f"one of: {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise KdbenchError("device cuda was asked for and torch sees no GPU", "use --device cpu, or `kdbench doctor`")
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", 0)
    return torch.device("cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.backends.cpu.get_cpu_capability()
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return capabilities != "DEFAULT" and bool(native())


def resolve_precision(precision: str, device: torch.device) -> str:
    """``float32`` or ``bfloat16`` for a recipe's ``precision`` on this device."""
    if precision == "auto":
        return "bfloat16" if computes_bfloat16(device) else "float32"
    return precision
