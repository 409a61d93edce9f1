"""Whether two trial labels are the same variable; if so, what is decoded cannot be attributed to one of them."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from sklearn.metrics import normalized_mutual_info_score

from neuromvm.analysis.sequence.trials import Codes, Mask, trial_label
from neuromvm.errors import NeuromvmError, SchemaError

MISSING = ("", "nan", "None")


class ConfoundError(NeuromvmError):
    """A label is asked for, but another label is the same variable on the trials used."""


class Confound(NamedTuple):
    """How strongly two labels are associated on a set of trials.

    ``information`` is mutual information over the mean of the two entropies: 0 independent, 1 the same variable; 0 if a label has
    one value only. With few trials it is above 0 also for independent labels.
    """

    label: str
    covariate: str
    trials: int  # that have both labels
    label_gives_covariate: bool  # whether each value of the label occurs with only one value of the covariate
    covariate_gives_label: bool
    information: float

    @property
    def identical(self) -> bool:
        """Whether the labels are one variable under two names."""
        return self.label_gives_covariate and self.covariate_gives_label and self.information > 0

    @property
    def name(self) -> str:
        """The name of the label when it is decoded from these trials."""
        return f"{self.label} = {self.covariate} (confounded)" if self.identical else self.label


def confounded(dataset: xr.Dataset, label: str, covariate: str, trials: Mask | None = None) -> Confound:
    """Return whether two labels of trials determine each other.

    ``dataset`` has one animal, with labels as coordinates ``(trial,)``. ``trials (trial,)`` are the trials to use (default:
    all). Trials that lack a label ('' or NaN) do not count. SchemaError is raised if a label is unknown, or no trial has both.

    References
    ----------
    Strehl & Ghosh (2002). Cluster ensembles. *J. Mach. Learn. Res.* 3, 583-617 (normalised mutual information; here, as in
    scikit-learn, over the arithmetic mean of the entropies).

    Examples
    --------
    >>> labels = {"odor": ("trial", list("ABABB")), "position": ("trial", [1, 2, 1, 2, 1])}
    >>> session = xr.Dataset(coords=labels)
    >>> confounded(session, "odor", "position").identical
    False
    >>> confounded(session, "odor", "position", trials=np.arange(5) < 4).name
    'odor = position (confounded)'
    """
    codes = np.stack([_codes(dataset, label), _codes(dataset, covariate)])
    used = (codes >= 0).all(axis=0)
    if trials is not None:
        used &= trials
    if not used.any():
        where = f"labels {label!r} and {covariate!r}"
        raise SchemaError(where, found="no trial with both", expected="at least one", next_step="Choose other trials")
    codes = codes[:, used]
    pairs = len(np.unique(codes, axis=1).T)
    values = [len(np.unique(row)) for row in codes]
    information = float(normalized_mutual_info_score(*codes)) if min(values) > 1 else 0.0
    return Confound(label, covariate, int(used.sum()), pairs == values[0], pairs == values[1], information)


def _codes(dataset: xr.Dataset, label: str) -> Codes:
    names, codes = np.unique(trial_label("confounded", dataset, label).astype(str), return_inverse=True)
    return np.where(np.isin(names, MISSING)[codes], -1, codes)
