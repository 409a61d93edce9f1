"""What a notebook calls: load, cut, split, score and draw, on objects in memory, without a run folder."""

from collections.abc import Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import xarray as xr

from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.decoding import Options as DecodingOptions
from neuromvm.analysis.generated.unit_activity import Options as UnitOptions
from neuromvm.analysis.generated.unit_activity import unit_activity
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS, TRIALS, is_judged
from neuromvm.analysis.latents import trajectories as trajectory_analysis
from neuromvm.analysis.latents.latent_scatter import latent_plane
from neuromvm.analysis.time import time_resolved as time_analysis
from neuromvm.data import from_arrays
from neuromvm.data.html import card
from neuromvm.data.loaders import load_recordings
from neuromvm.data.splits import make_splits
from neuromvm.data.trees import Recordings, Samples, Splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import expect
from neuromvm.specs import DataSpec, SampleSpec, SplitSpec, load_data_spec

if TYPE_CHECKING:
    from neuromvm.inference.fitted_stack import FittedStack

Latents = Mapping[str, xr.DataTree] | xr.DataTree
NAMELESS = "model"  # name of latents that are given without one


class Scores(xr.Dataset):  # type: ignore[no-untyped-call]
    """Scores of an analysis; a notebook shows those of decoding as a table of methods by settings."""

    __slots__ = ()

    @classmethod
    def of(cls, scores: xr.Dataset) -> "Scores":
        """Return the same scores, their arrays shared."""
        return cls(scores.data_vars, scores.coords, scores.attrs)

    def _repr_html_(self) -> str:
        if not is_judged(self) or not {"representation", "setting", "target"} <= set(self.dims):
            return super()._repr_html_()
        facts = {"measure": f"balanced accuracy of {self.attrs.get('label', 'the label')}"}
        facts["chance"] = f"{float(self.attrs['chance']):.3g}"
        return card("Scores", facts | {"intervals": self.attrs.get("interval", "")}, table(self))


def table(scores: xr.Dataset) -> pd.DataFrame:
    """Return a row for each method and a column for each setting: score, 95 % interval over trials, and p of permuted labels.

    Parameters
    ----------
    scores
        Of :func:`compare` or :func:`decode`.
    """
    mean = scores["score"].sel(target=ALL_ANIMALS, unit_of_inference=TRIALS)
    p = scores["null_score"].sel(null=LABELS, target=ALL_ANIMALS, null_statistic="p")
    rows = []
    for name in map(str, scores["representation"].values):
        row = {"method": name}
        for setting in map(str, scores["setting"].values):
            cell = {"representation": name, "setting": setting}
            value, low, high = mean.sel(cell).sel(statistic=["value", "low", "high"]).to_numpy().tolist()
            row[setting] = _cell(value, low, high, float(p.sel(cell)))
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(value: float, low: float, high: float, p: float) -> str:
    if value != value:  # NaN: the method has no such score
        return ""
    text = f"{value:z.3f} [{low:z.3f}, {high:z.3f}]".replace("-", "−")
    return text if p != p else f"{text}, p {'< .001' if p < 0.001 else f'= {p:.2g}'}"


def load(spec: DataSpec | str | Path, root: str | Path | None = None) -> Recordings:
    """Load recordings from files; :func:`neuromvm.data.loaders.load_recordings` says what is returned and raised.

    Parameters
    ----------
    spec
        A data spec, its YAML file, or the name of a shipped one.
    root
        Folder of the files, in place of that of the spec.
    """
    return Recordings.of(load_recordings(spec if isinstance(spec, DataSpec) else load_data_spec(str(spec)), root))


@wraps(from_arrays.recordings_from_arrays)
def recordings_from_arrays(*arguments: Any, **settings: Any) -> Recordings:
    """Return what the function of the same name does, described in a notebook."""
    return Recordings.of(from_arrays.recordings_from_arrays(*arguments, **settings))


@wraps(from_arrays.recordings_from_spike_times)
def recordings_from_spike_times(*arguments: Any, **settings: Any) -> Recordings:
    """Return what the function of the same name does, described in a notebook."""
    return Recordings.of(from_arrays.recordings_from_spike_times(*arguments, **settings))


def samples(recordings: xr.DataTree, spec: SampleSpec | None = None, **settings: Any) -> Samples:
    """Cut every trial into windows and label them: ``samples(recordings, start=0, stop=1, label=["odor"])``.

    Settings are those of :class:`neuromvm.SampleSpec`, or a spec is given; see :func:`neuromvm.data.windows.make_samples`.
    """
    return Samples.of(make_samples(recordings, SampleSpec(**settings) if spec is None else spec))


def splits(samples: xr.DataTree, spec: SplitSpec | None = None, **settings: Any) -> Splits:
    """Divide trials into those that train and those that test: ``splits(samples, kind="kfold", folds=5)``.

    Settings are those of :class:`neuromvm.SplitSpec`, or a spec is given; see :func:`neuromvm.data.splits.make_splits`.
    """
    return Splits.of(make_splits(samples, SplitSpec(**settings) if spec is None else spec))


def compare(samples: xr.DataTree, splits: xr.DataTree, latents: Latents, options: Any = None, **settings: Any) -> Scores:
    """Decode latents beside raw activity and linear alignments; see :func:`neuromvm.analysis.decoding.decoding.compare`.

    Parameters
    ----------
    samples, splits
        What the latents were inferred from.
    latents
        Of one model (``fitted.transform(samples)``), or of several by name.
    options, settings
        Of :class:`neuromvm.analysis.decoding.decoding.Options`, such as ``bootstraps=200`` or ``baselines=("raw", "mcca")``.
    """
    return Scores.of(decoding.compare(samples, splits, _named(latents), options or DecodingOptions(**settings)))


def decode(samples: xr.DataTree, splits: xr.DataTree, latents: Latents, **settings: Any) -> Scores:
    """Decode latents alone, without baselines; settings are those of :func:`compare`."""
    return compare(samples, splits, latents, **{"baselines": (), "reference": "", **settings})


def time_resolved(
    recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, paths: Latents | None = None, **settings: Any
) -> Scores:
    """Decode in windows slid over the trial; see :func:`neuromvm.analysis.time.time_resolved.decode_in_time`.

    ``paths`` are latents of samples whose windows slide: ``fitted.transform(samples(recordings, width=..., step=..., ...))``.
    """
    named = {} if paths is None else _named(paths)
    return Scores.of(time_analysis.decode_in_time(recordings, samples, splits, named, time_analysis.Options(**settings)))


def trajectories(samples: xr.DataTree, splits: xr.DataTree, paths: Latents, **settings: Any) -> Scores:
    """Average latents of several windows a trial within conditions; see :mod:`neuromvm.analysis.latents.trajectories`.

    Parameters
    ----------
    samples, splits
        Samples with the windows of the paths, and the splits of their trials.
    paths
        Latents of the windows of a trial, of one model or of several by name.
    settings
        Of :class:`neuromvm.analysis.latents.trajectories.Options`, such as ``axes=2``.
    """
    options = trajectory_analysis.Options(**settings)
    return Scores.of(trajectory_analysis.paths_of_conditions(samples, splits, _named(paths), options))


def plot_recordings(recordings: xr.DataTree, label: str | None = None) -> Any:
    """Draw units, mean activity, drift, trials of each label and what was dropped, by animal."""
    from neuromvm.analysis.figures.recordings import overview

    return overview(recordings, label)


def plot_timeline(recordings: xr.DataTree, samples: xr.DataTree | None = None, label: str | None = None) -> Any:
    """Draw when trials of each label come in a session, and the windows of a trial."""
    from neuromvm.analysis.figures.timeline import timeline

    return timeline(recordings, samples, label)


def plot_latents(
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Latents,
    *,
    panels: Literal["model", "animal"] = "model",
    **settings: Any,
) -> Any:
    """Draw latents of test samples in two dimensions: ``panels`` for each model, by label and by animal, or for each animal.

    ``settings`` are ``split`` and ``projection`` ("pca" or "umap").
    """
    from neuromvm.analysis.figures import latents as figures
    from neuromvm.analysis.latents.latent_scatter import Options

    plane = latent_plane(samples, splits, _named(latents), Options(**settings))
    return figures.by_animal(plane) if panels == "animal" else figures.scatter(plane)


def plot_scores(scores: xr.Dataset, ax: Any = None) -> Any:
    """Draw the scores of :func:`compare` or :func:`decode` with intervals, nulls and chance."""
    from neuromvm.analysis.figures import decoding as figures

    return _drawn(figures.settings, ax, scores)


def plot_differences(scores: xr.Dataset, ax: Any = None) -> Any:
    """Draw the difference of every method to the reference of :func:`compare`."""
    from neuromvm.analysis.figures import decoding as figures

    return _drawn(figures.difference, ax, scores)


def plot_transfer(scores: xr.Dataset) -> Any:
    """Draw how well the decoder of each animal reads each animal, a matrix for each method."""
    from neuromvm.analysis.figures import decoding as figures

    return figures.transfer(scores)


def plot_confusion(scores: xr.Dataset, setting: str = "within", method: str | None = None, ax: Any = None) -> Any:
    """Draw as which class samples of each class are read, of all methods or of one."""
    from neuromvm.analysis.figures import decoding as figures

    chosen = scores if method is None else scores.sel(representation=[method])
    return _drawn(figures.confusion, ax, chosen, setting)


def plot_time_resolved(scores: xr.Dataset, kind: Literal["curves", "animals", "generalization"] = "curves") -> Any:
    """Draw the scores of :func:`time_resolved`: the mean over animals, each animal, or from each window to each other."""
    from neuromvm.analysis.figures import time_resolved as figures

    draw = {"curves": figures.curves, "animals": figures.animals, "generalization": figures.generalization}[kind]
    return draw(scores)


def plot_trajectories(scores: xr.Dataset) -> Any:
    """Draw each axis of the latents against time, from :func:`trajectories`."""
    from neuromvm.analysis.figures import latents as figures

    return figures.trajectories(scores)


def plot_paths(scores: xr.Dataset, dimensions: Literal[2, 3] = 2, ax: Any = None) -> Any:
    """Draw paths through two or three dimensions with time marked and single trials, from :func:`trajectories`."""
    from neuromvm.analysis.figures import paths

    return _drawn(paths.plane if dimensions == 2 else paths.space, ax, scores)


def plot_rasters(
    fitted: "FittedStack",
    samples: xr.DataTree,
    splits: xr.DataTree,
    animal: str,
    recordings: xr.DataTree | None = None,
    **settings: Any,
) -> Any:
    """Draw test trials of single units of an animal: recorded, reconstructed, and imputed from the other animals.

    With ``recordings`` also the spikes of the whole trial. ``settings`` are ``split`` and ``units`` (how many).
    """
    from neuromvm.analysis.figures import units

    return units.rasters(_unit_activity(fitted, samples, splits, recordings, settings), animal)


def plot_psths(fitted: "FittedStack", samples: xr.DataTree, splits: xr.DataTree, animal: str, **settings: Any) -> Any:
    """Draw the mean activity of single units of an animal in each condition: recorded, reconstructed and imputed."""
    from neuromvm.analysis.figures import units

    return units.psths(_unit_activity(fitted, samples, splits, None, settings), animal)


def plot_tradeoff(table: xr.Dataset, ax: Any = None) -> Any:
    """Draw accuracy and coherence of the cells of a sweep against reconstruction error, along beta (its ``sweep.nc``)."""
    from neuromvm.analysis.figures import sweep

    return _drawn(sweep.tradeoff, ax, table)


def _unit_activity(
    fitted: "FittedStack",
    samples: xr.DataTree,
    splits: xr.DataTree,
    recordings: xr.DataTree | None,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    from neuromvm.inference.fitted_stack import FittedStack  # imported here: loading and scoring need no torch
    from neuromvm.inference.transfer import impute_each, transfer

    expect(fitted, FittedStack, "fitted", "Make it: fit(samples, splits, model)")
    trees = transfer(fitted, samples, splits), impute_each(fitted, samples, splits)
    return unit_activity(samples, splits, *trees, UnitOptions(**settings), recordings)


def _named(latents: Latents) -> dict[str, xr.DataTree]:
    """Return latents by the name of their model."""
    return {NAMELESS: latents} if isinstance(latents, xr.DataTree) else dict(latents)


def _drawn(draw: Any, ax: Any, scores: xr.Dataset, *arguments: Sequence[Any] | str) -> Any:
    """Draw a new figure and return it, or draw in axes and return these, since their figure is displayed by its owner."""
    from neuromvm.analysis.figures.style import drawn_in

    with drawn_in(ax):
        figure = draw(scores, *arguments)
    return figure if ax is None else ax
