"""From raw decoder output to log-likelihood, mean and samples of activity."""

from neuromvm.likelihoods.base import Likelihood, LinearError, Support
from neuromvm.likelihoods.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson
from neuromvm.likelihoods.discrete import Bernoulli, Categorical
from neuromvm.likelihoods.gaussian import Gaussian, Laplace, SquaredError
from neuromvm.likelihoods.positive import Gamma

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "Gamma",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "LinearError",
    "NegativeBinomial",
    "Poisson",
    "SquaredError",
    "Support",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]

# Name in a spec (neuromvm.specs.model) -> class.
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "squared_error": SquaredError,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated_poisson": ZeroInflatedPoisson,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gamma": Gamma,
}
