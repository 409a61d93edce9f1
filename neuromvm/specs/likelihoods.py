"""Spec of a likelihood: the distribution of activity given the decoder's output."""

from typing import Literal

from neuromvm.specs.base import Spec


class LikelihoodSpec(Spec):
    """A likelihood by its name in :data:`neuromvm.likelihoods.LIKELIHOODS`.

    Of scaled features: ``squared_error``, the published choice; ``gaussian``, a variance learned for each feature; ``laplace``, a
    scale learned for each feature, so that large deviations weigh less.

    Of spike counts, the decoder giving the log rate of each unit and bin: ``poisson``; ``negative_binomial``, which varies more,
    with a dispersion learned for each unit; both ``zero_inflated_...``, with a probability of extra zeros learned for each unit.

    Of recorded events: ``bernoulli``, 0 or 1 in every bin; ``categorical``, one-hot categories or counts of them.

    Of positive amplitudes such as LFP power: ``gamma``, a shape learned for each feature.
    """

    kind: Literal[
        "squared_error",
        "gaussian",
        "laplace",
        "poisson",
        "negative_binomial",
        "zero_inflated_poisson",
        "zero_inflated_negative_binomial",
        "bernoulli",
        "categorical",
        "gamma",
    ]
