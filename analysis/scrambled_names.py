"""Does reading across animals need a code that they share? Odor names are scrambled within each animal, then all is refitted."""

import numpy as np
import pandas as pd
import xarray as xr

import neuromvm as nm
from analysis.tables import EXPERIMENTS, Request, bracketed, markdown, read_request, recordings, write_page
from neuromvm.analysis import compare
from neuromvm.analysis.decoding.decoding import Options, summarize

LABEL = "odor"
AREAS = ("piriform", "amygdala")
EXPERIMENT_OF = {"simulated rats": "simulated_rats", **{area: f"odor_{area}_new_animal" for area in AREAS}}
MODELS = ("mmvm_cross", "mmvm", "simplex_bayes")  # those of the experiment that are fitted
BASELINES = ("raw", "procrustes", "srm", "mcca")


def scramble(animals: xr.DataTree, seed: int) -> xr.DataTree:
    """Return recordings in which the odors of each animal have each other's names, by a permutation drawn for each animal."""
    random = np.random.default_rng(seed)
    renamed = {}
    for animal, node in animals.children.items():
        dataset = node.to_dataset(inherit=False)
        names, codes = np.unique(dataset[LABEL].to_numpy(), return_inverse=True)
        renamed[animal] = xr.DataTree(dataset.assign_coords({LABEL: ("trial", random.permutation(names)[codes])}))
    return xr.DataTree(dataset=animals.to_dataset(), children=renamed)


def cross_scores(spec: nm.ExperimentSpec, animals: xr.DataTree, options: Options) -> pd.Series:
    """Fit models and baselines, and return the score across animals of each with its interval."""
    samples = nm.make_samples(animals, spec.samples)
    splits = nm.make_splits(samples, spec.split)
    latents = {
        name: nm.fit(samples, splits, model, spec.training_for(name)).embed(samples)
        for name, model in spec.models.items()
        if name in MODELS
    }
    scores = [score.row() for score in summarize(compare(samples, splits, latents, options))]
    return pd.Series(
        {score["representation"]: bracketed(score, "value", "low", "high") for score in scores if score["setting"] == "cross"}
    )


def table_of(request: Request, experiment: str) -> str:
    """Write the scores across animals of one experiment with true and with scrambled names."""
    changes = ("training.epochs=2", "split.repeats=1") if request.quick else ()
    spec = nm.load_experiment_spec(EXPERIMENTS / f"{experiment}.yaml", changes)
    data = nm.load_data_spec(spec.data.spec)
    animals = nm.load_recordings(
        data.model_copy(update={"min_units": spec.data.min_units or data.min_units}), recordings(request, spec.data.spec)
    )
    options = Options.model_validate({**spec.analyses["decoding"], "baselines": BASELINES})
    columns = {
        "true names": cross_scores(spec, animals, options),
        "scrambled names": cross_scores(spec, scramble(animals, seed=0), options),
    }
    return markdown(pd.DataFrame(columns).rename_axis("row").reset_index())


def main(request: Request) -> None:
    """Compare scores across animals with true and with scrambled odor names."""
    write_page(request, "scrambled_names", {name: table_of(request, experiment) for name, experiment in EXPERIMENT_OF.items()})


if __name__ == "__main__":
    main(read_request(__doc__))
