"""Do two labels of trials say the same? Where they do, what is decoded may be called by neither name alone."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from neuromvm.errors import NeuromvmError, SchemaError, did_you_mean

MISSING = ("", "nan", "None")


class ConfoundError(NeuromvmError):
    """One label is asked for, but another is the same variable on the trials used."""


class Confound(NamedTuple):
    """How far two labels go together on a set of trials.

    Attributes
    ----------
    first, second
        Names of the labels.
    trials
        Number of trials that have both.
    first_gives_second, second_gives_first
        Whether each value of one occurs with one value of the other only.
    information
        Mutual information over the mean of the two entropies: 0 independent, 1 the same variable; 0 if either has one value only.
        Rare values raise it: labels that go together by chance on few trials have more than 0.
    """

    first: str
    second: str
    trials: int
    first_gives_second: bool
    second_gives_first: bool
    information: float

    @property
    def same(self) -> bool:
        """Whether the labels are one variable under two names."""
        return self.first_gives_second and self.second_gives_first and self.information > 0

    @property
    def name(self) -> str:
        """What to call the first label when it is decoded from these trials."""
        return f"{self.first} = {self.second} (confounded)" if self.same else self.first


def confounded(dataset: xr.Dataset, first: str, second: str, trials: NDArray[np.bool_] | None = None) -> Confound:
    """Say whether two labels of trials determine each other.

    Parameters
    ----------
    dataset
        One animal: recordings or samples, with labels as coordinates ``(trial,)``.
    first, second
        Names of labels.
    trials
        ``(trial,)``, the ones to look at; default: all. Trials that lack a label ('' or NaN) do not count.

    Raises
    ------
    SchemaError
        If a label is unknown, or no trial has both.

    References
    ----------
    Strehl & Ghosh (2002). Cluster ensembles. *J. Mach. Learn. Res.* 3, 583-617 (normalised mutual information; here, as in
    scikit-learn, over the arithmetic mean of the entropies).

    Examples
    --------
    >>> labels = {"odor": ("trial", list("ABABB")), "position": ("trial", [1, 2, 1, 2, 1])}
    >>> session = xr.Dataset(coords=labels)
    >>> confounded(session, "odor", "position").same
    False
    >>> confounded(session, "odor", "position", trials=np.arange(5) < 4).name
    'odor = position (confounded)'
    """
    values = [_codes(dataset, label) for label in (first, second)]
    used = np.logical_and(*(codes >= 0 for codes in values))
    if trials is not None:
        used &= trials
    if not used.any():
        raise SchemaError(
            f"labels {first!r} and {second!r}",
            found="no trial with both",
            expected="at least one",
            next_step="Choose other trials",
        )
    one, other = (codes[used] for codes in values)
    pairs = len(np.unique(np.stack([one, other]), axis=1).T)
    kinds = len(np.unique(one)), len(np.unique(other))
    information = float(normalized_mutual_info_score(one, other)) if min(kinds) > 1 else 0.0
    return Confound(first, second, int(used.sum()), pairs == kinds[0], pairs == kinds[1], information)


def refuse_confounded(where: str, found: Confound, next_step: str) -> None:
    """Raise ConfoundError if two labels are one variable on the trials looked at.

    Parameters
    ----------
    where
        The analysis and animal that want to tell the labels apart.
    found
        Of :func:`confounded`, for the trials used.
    next_step
        How to get trials that part the labels.
    """
    if found.same:
        raise ConfoundError(
            where,
            found=f"{found.first} and {found.second} determine each other on all {found.trials} trials used, "
            "so what is decoded cannot be called by one of the names",
            expected=f"trials on which {found.first} and {found.second} differ",
            next_step=next_step,
        )


def _codes(dataset: xr.Dataset, label: str) -> NDArray[np.intp]:
    known = sorted(str(key) for key, coord in dataset.coords.items() if coord.dims == ("trial",))
    if label not in known:
        raise SchemaError("confounded", found=f"no trial label {label!r}", next_step=did_you_mean(label, known))
    names, codes = np.unique(dataset[label].to_numpy().astype(str), return_inverse=True)
    return np.where(np.isin(names, MISSING)[codes], -1, codes)
