"""Separating clean from wrong labels by a mixture of two Gaussians over the losses (Li et al. 2020)."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def normalised(losses: Tensor) -> Tensor:
    """(l - min) / (max - min) for losses (N,), all 0 where they are equal.

    >>> normalised(torch.tensor([1.0, 3.0, 2.0])).tolist()
    [0.0, 1.0, 0.5]
    """
    span = losses.max() - losses.min()
    return torch.where(span > 0, (losses - losses.min()) / span.clamp(min=torch.finfo(losses.dtype).tiny), 0)


def clean_probability(losses: Tensor, seed: int) -> Tensor | None:
    """Posterior (N,) float32 in [0, 1] of the component with the smaller mean, for losses (N,) in [0, 1].

    A mixture of two Gaussians by expectation maximisation from k-means, settings as in DivideMix's code: at most ten
    rounds, tolerance .01, at least 5e-4 of variance. None where all losses are equal: nothing separates them.
    """
    if losses.max() == losses.min():
        return None
    # Loaded where it is needed: registering the methods stays cheap.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    values = losses.cpu().double().numpy()[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten rounds are meant to be enough, not to converge
        mixture.fit(values)
    posterior = mixture.predict_proba(values)[:, mixture.means_.argmin()]
    return torch.as_tensor(posterior, dtype=torch.float32, device=losses.device)
