"""Specs of likelihoods: what the decoder's output says about activity."""

from typing import Annotated, Literal

from pydantic import Field

from neuromvm.specs.base import Spec


class SquaredErrorLikelihood(Spec):
    """Squared error of the scaled features, the published choice."""

    kind: Literal["squared_error"] = "squared_error"


class GaussianLikelihood(Spec):
    """Gaussian of the scaled features, with a variance learned for each."""

    kind: Literal["gaussian"] = "gaussian"


class LaplaceLikelihood(Spec):
    """Laplace density of the scaled features, with a scale learned for each: large deviations weigh less."""

    kind: Literal["laplace"] = "laplace"


class PoissonLikelihood(Spec):
    """Poisson spike counts; the decoder gives the log rate of each unit and bin."""

    kind: Literal["poisson"] = "poisson"


class NegativeBinomialLikelihood(Spec):
    """Spike counts that vary more than Poisson, with a dispersion learned for each unit."""

    kind: Literal["negative_binomial"] = "negative_binomial"


class ZeroInflatedPoissonLikelihood(Spec):
    """Poisson spike counts with extra zeros, their probability learned for each unit."""

    kind: Literal["zero_inflated_poisson"] = "zero_inflated_poisson"


class ZeroInflatedNegativeBinomialLikelihood(Spec):
    """Negative-binomial spike counts with extra zeros, their probability learned for each unit."""

    kind: Literal["zero_inflated_negative_binomial"] = "zero_inflated_negative_binomial"


class BernoulliLikelihood(Spec):
    """Spiked or not: recorded activity that is 0 or 1 in every bin."""

    kind: Literal["bernoulli"] = "bernoulli"


class CategoricalLikelihood(Spec):
    """One of several categories: recorded activity is one-hot, or counts of categories."""

    kind: Literal["categorical"] = "categorical"


AnyLikelihood = Annotated[
    SquaredErrorLikelihood
    | GaussianLikelihood
    | LaplaceLikelihood
    | PoissonLikelihood
    | NegativeBinomialLikelihood
    | ZeroInflatedPoissonLikelihood
    | ZeroInflatedNegativeBinomialLikelihood
    | BernoulliLikelihood
    | CategoricalLikelihood,
    Field(discriminator="kind"),
]
