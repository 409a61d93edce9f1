"""Classifiers that decode labels: logistic regression, shrinkage discriminants, Poisson naive Bayes and given likelihoods.

Those that are fitted give every class the same weight, however many training samples it has: scores are balanced accuracies.
"""

from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from neuromvm.data.trial_model import TrialModel

Floats = NDArray[np.floating]
Codes = NDArray[np.integer]


class Classifier(Protocol):
    """A classifier of samples; fitted on training-side samples only."""

    @property
    def classes_(self) -> Codes:
        """Class codes of the training samples, ascending."""

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to ``(sample, feature)`` and ``(sample,)``."""

    def class_scores(self, features: Floats) -> Floats:
        """Return ``(sample, class)``; the class with the larger score is more probable."""


class _Linear:
    """A linear model of scikit-learn."""

    def __init__(self, model: LogisticRegression | LinearDiscriminantAnalysis) -> None:
        self._model = model

    @property
    def classes_(self) -> Codes:
        """Class codes of the training samples, ascending."""
        return np.asarray(self._model.classes_)

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to ``(sample, feature)`` and ``(sample,)``."""
        self._model.fit(features, labels)
        return self

    def class_scores(self, features: Floats) -> Floats:
        """Return linear scores ``(sample, class)``, also for two classes, for which scikit-learn returns the difference."""
        scores: Floats = np.asarray(self._model.decision_function(features))
        return np.stack([np.zeros_like(scores), scores], axis=1) if scores.ndim == 1 else scores


class Logistic(_Linear):
    """Multinomial logistic regression with a squared penalty, fitted in the span of its training samples.

    Samples are weighted by n / (K n_k), n_k of the n samples being of their class and K the number of classes. The weights of a
    penalised regression lie in the span of its samples, so with more features than samples the solution is the same and has
    fewer numbers. The search starts from ``start``, fitted on the same features and classes; the optimum is the same.
    """

    def __init__(self, inverse_penalty: float, start: "Logistic | None" = None) -> None:
        # Newton's method is as quick as the default here and reaches the optimum, which the default may miss.
        settings = {"solver": "newton-cg", "max_iter": 1000, "class_weight": "balanced", "warm_start": start is not None}
        super().__init__(LogisticRegression(C=inverse_penalty, **settings))
        self._inverse_penalty, self._start = inverse_penalty, start
        self._span: Floats | None = None

    def as_start(self) -> "Logistic":
        """Return an unfitted regression whose search starts from this solution."""
        return Logistic(self._inverse_penalty, self)

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to ``(sample, feature)`` and ``(sample,)``."""
        features = features.astype(np.float64, copy=False)
        start = self._start
        if features.shape[1] > features.shape[0]:
            self._span = np.linalg.qr(features.T)[0]
            features = features @ self._span
        elif start is not None and start._span is None and np.array_equal(start.classes_, np.unique(labels)):
            self._model.coef_, self._model.intercept_ = start._model.coef_.copy(), start._model.intercept_.copy()
        return super().fit(features, labels)

    def class_scores(self, features: Floats) -> Floats:
        """Return linear scores ``(sample, class)``."""
        return super().class_scores(features if self._span is None else features @ self._span)


class ShrinkageDiscriminant(_Linear):
    """Linear discriminant analysis with equal priors, whose covariance is drawn towards a diagonal by a share.

    ``auto`` estimates the share. The covariance is pooled over samples. Ledoit & Wolf (2004). A well-conditioned estimator for
    large-dimensional covariance matrices. *J. Multivar. Anal.* 88, 365-411.
    """

    def __init__(self, shrinkage: float | Literal["auto"] = "auto") -> None:
        super().__init__(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage))

    def class_scores(self, features: Floats) -> Floats:
        """Return linear scores ``(sample, class)`` under equal priors."""
        # Given as priors, equal ones would weight the classes in the covariance too.
        return np.asarray(super().class_scores(features) - np.log(self._model.priors_))


class ShrunkMeans:
    """Linear discriminant with equal priors of class means shrunk towards their grand mean, and a shrunk covariance.

    Means and covariance are those of :class:`neuromvm.data.trial_model.TrialModel`, the model of trials from which a simplex code
    starts: ``shrinkage`` is the share of white noise in the covariance within classes, and means are shrunk by empirical Bayes,
    unit by unit. Features are bin-major, in ``bins`` bins.
    """

    def __init__(self, shrinkage: float = 0.85, bins: int = 1) -> None:
        self._shrinkage, self._bins = shrinkage, bins
        self.classes_: Codes = np.zeros(0, dtype=np.int16)
        self.weights: Floats = np.zeros((0, 0))  # (feature, class)
        self.offset: Floats = np.zeros(0)  # (class,)

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to ``(sample, feature)`` and ``(sample,)``."""
        self.classes_, index = np.unique(labels, return_inverse=True)
        units = features.shape[1] // self._bins
        trials = TrialModel.fit(features, index, units, len(self.classes_), self._shrinkage)
        means, deviations, white = trials.mean.astype(np.float64), trials.deviations.astype(np.float64), trials.white**2
        if features.shape[1] > len(deviations):  # Woodbury: a system of the samples' size is solved
            inner = deviations @ deviations.T + white * np.eye(len(deviations))
            self.weights = (means.T - deviations.T @ np.linalg.solve(inner, deviations @ means.T)) / white
        else:
            self.weights = np.linalg.solve(deviations.T @ deviations + white * np.eye(features.shape[1]), means.T)
        self.offset = -0.5 * np.einsum("cf,fc->c", means, self.weights)
        return self

    def class_scores(self, features: Floats) -> Floats:
        """Return the log posterior ``(sample, class)`` up to a number for each sample."""
        return np.asarray(features @ self.weights + self.offset)


class MostLikely:
    """The class of highest likelihood, from features that are log-likelihoods, one for each class code; nothing is fitted."""

    def __init__(self) -> None:
        self.classes_: Codes = np.zeros(0, dtype=np.int16)

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Note which classes there are in ``labels (sample,)``."""
        self.classes_ = np.unique(labels)
        return self

    def class_scores(self, features: Floats) -> Floats:
        """Return the log-likelihoods of the classes ``(sample, class)``."""
        return features[:, self.classes_]


class PoissonBayes:
    """Naive Bayes for spike counts: each feature is Poisson, independent given the class.

    The rate of a class is the mean of a Gamma posterior whose prior mean is that of the feature over all training samples,
    counting for ``prior_trials`` samples. Classes have equal prior probabilities. Zhang, Ginzburg, McNaughton & Sejnowski (1998).
    *J. Neurophysiol.* 79, 1017-1044.
    """

    def __init__(self, prior_trials: float = 1.0) -> None:
        self._prior_trials = prior_trials
        self.classes_: Codes = np.zeros(0, dtype=np.int16)
        self.rates: Floats = np.zeros((0, 0))  # (class, feature) [counts]

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to counts ``(sample, feature)`` and labels ``(sample,)``."""
        self.classes_, index = np.unique(labels, return_inverse=True)
        member = np.eye(len(self.classes_))[index]
        number = member.sum(axis=0)
        overall = np.maximum(features.mean(axis=0, dtype=np.float64), 1e-3)  # [counts], also if a feature never counted
        summed = member.T @ features.astype(np.float64, copy=False)
        self.rates = (summed + self._prior_trials * overall) / (number + self._prior_trials)[:, None]
        return self

    def class_scores(self, features: Floats) -> Floats:
        """Return the log posterior ``(sample, class)`` up to a number for each sample."""
        return np.asarray(features.astype(np.float64, copy=False) @ np.log(self.rates).T - self.rates.sum(axis=1))
