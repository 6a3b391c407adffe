"""A pretend accelerator: a torch device that computes on the CPU and is as strict about devices as a GPU.

    from kdbench.testing import pretend_accelerator

    with pretend_accelerator() as device:
        images = torch.rand(8, 3, 32, 32, device=device)
        images + torch.rand(8, 3, 32, 32)  # RuntimeError, as on a GPU

What holds on it: tensors of two devices in one operation are an error, and so are a generator of another device and
``.numpy()``; random numbers come from generators of its own; autocast rounds matrix products; tensors are saved with
their device, and loaded elsewhere with ``map_location``. ``counted_reads`` counts what makes the host wait for it.
What does not: it says nothing of speed, memory or rounding, and knows no streams and no compilation.
"""

from kdbench.pretend.backend import pretend_accelerator
from kdbench.pretend.reads import Reads, counted_reads

__all__ = ["Reads", "counted_reads", "pretend_accelerator"]
