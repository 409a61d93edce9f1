"""What analyses beside ``decoding`` keep of models refitted with exchanged names; neither models nor latents of refits are kept.

A run whose experiment has ``consistency`` or ``coherence``, or whose scores of them are saved, gets their values in each refit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import xarray as xr

from neuromvm.analysis.consistency import consistency
from neuromvm.analysis.consistency.refit import compare_exchanged, without_values
from neuromvm.analysis.decoding.refit import answers
from neuromvm.analysis.generated import coherence
from neuromvm.analysis.generated.coherence_refit import score_exchanged, without_scores
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.folders.study import Study
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.transfer import impute_each, transfer


class Comparison(NamedTuple):
    """An analysis of a refit: the settings on which its values depend, how they are computed, and NaN in place of them."""

    settings: str
    compute: Callable[[FittedStack, int], xr.Dataset]
    empty: Callable[[int], xr.Dataset]


def comparisons(study: Study, row: str, null: str) -> dict[str, Comparison]:
    """Return the analyses that are computed on refits of a row, by name; none but for models and exchanged names."""
    if null != CORRESPONDENCE or row not in study.models:
        return {}
    animals, chosen = list(study.samples.children), {}
    if (given := _options(study, consistency.CONSISTENCY)) is not None:
        options = consistency.Options.model_validate(given)
        compute = partial(_consistency, study, options.ridge)
        chosen[consistency.CONSISTENCY] = Comparison(
            consistency.refit_settings(options), compute, partial(without_values, animals)
        )
    if (given := _options(study, coherence.COHERENCE)) is not None:
        generated = coherence.Options.model_validate(given)
        if generated.models is None or row in generated.models:
            settings, score = coherence.refit_settings(generated), partial(_coherence, study, generated)
            chosen[coherence.COHERENCE] = Comparison(settings, score, partial(without_scores, animals))
    return chosen


def _consistency(study: Study, ridge: float, fitted: FittedStack, number: int) -> xr.Dataset:
    samples, splits = answers(study, CORRESPONDENCE, number)
    return compare_exchanged(samples, splits, fitted.embed(samples), number, ridge)


def _coherence(study: Study, options: coherence.Options, fitted: FittedStack, number: int) -> xr.Dataset:
    samples, splits = answers(study, CORRESPONDENCE, number)
    transferred, imputed = transfer(fitted, samples, splits), impute_each(fitted, samples, splits)
    return score_exchanged(samples, splits, transferred, imputed, number, options)


def _options(study: Study, analysis: str) -> dict[str, Any] | None:
    """Return the options with which an analysis of a run was or will be computed, None if it is not asked for."""
    if (study.path / "scores" / f"{analysis}.nc").is_file():
        return dict(study.summary["analyses"][analysis]["options"])
    return study.spec.analyses.get(analysis)
