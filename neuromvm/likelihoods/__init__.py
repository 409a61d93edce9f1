"""From raw decoder output to log-likelihood, mean and samples of activity."""

from neuromvm.likelihoods.base import Likelihood, LinearError
from neuromvm.likelihoods.counts import CountLikelihood, NegativeBinomial, Poisson
from neuromvm.likelihoods.discrete import Bernoulli, Categorical
from neuromvm.likelihoods.gaussian import Gaussian, Laplace, SquaredError
from neuromvm.likelihoods.zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

__all__ = [
    "Bernoulli",
    "Categorical",
    "CountLikelihood",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "LinearError",
    "NegativeBinomial",
    "Poisson",
    "SquaredError",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]
