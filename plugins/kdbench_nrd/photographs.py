"""NRD on photographs, where Cutout and shifts by four pixels of 32 mean nothing."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

import kdbench
from kdbench_nrd.nrd import NRD


class PhotographNRD(NRD):
    """NRD with views for photographs, as in the paper's experiments on WebVision.

    The loss and its parameters are those of nrd. The student has the suite's own augmentation, weak as in the
    experiments of GJS there; the teacher's view is AugMix, then a crop magnified to the whole and a flip, and with
    ``variant=ner`` the crop and flip alone. ``cutout`` and ``randaugment_magnitude`` are of nrd's strong view and do
    nothing here. Published for WebVision: weights .1, .8, .1 and no factor Z, which is what its recipes say.
    """

    def views(self, images: Tensor, ctx: kdbench.Context) -> dict[str, Tensor]:
        mixed = kdbench.augment.augmix(images, ctx.generator, severity=self.severity) if self.vicinal else images
        teacher = kdbench.augment.photograph_view(mixed, ctx.generator, flip=ctx.flip)
        return {"images": ctx.augment(images), "teacher": teacher}


nrd_photographs = kdbench.method(
    "nrd-photographs",
    paper="Shon et al. 2024, Neural Vicinal Risk Minimization",
    recipes=Path(__file__).with_name("recipes.toml"),
)(PhotographNRD)
