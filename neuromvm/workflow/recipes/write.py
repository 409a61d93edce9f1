"""Write the experiment of a recipe as commented YAML, filled in from recordings."""

import os
from pathlib import Path

import xarray as xr

from neuromvm.errors import SpecError, did_you_mean
from neuromvm.files import write_atomically
from neuromvm.specs import ExperimentSpec, load_experiment_spec
from neuromvm.specs.files import check_new, shipped_experiments, shipped_sweeps, validated
from neuromvm.specs.yaml_text import Setting, comment, scalar, yaml_of
from neuromvm.specs.yaml_values import read_yaml
from neuromvm.workflow.recipes.catalogue import RECIPES, Ends, default_recipe
from neuromvm.workflow.recipes.traits import Traits, read_traits


def experiment_text(
    recordings: xr.DataTree,
    name: str,
    data: str,
    root: str | None = None,
    *,
    recipe: str | None = None,
    label: str | None = None,
    ends: Ends = Ends(),  # noqa: B008
) -> str:
    """Return the commented YAML of an experiment on recordings.

    Parameters
    ----------
    recordings
        What the data spec loads.
    name
        Of the experiment: letters, digits, ``_`` and ``-``.
    data, root
        ``data.spec`` and ``data.root`` of the experiment.
    recipe
        A name in :data:`neuromvm.workflow.recipes.catalogue.RECIPES`; by default the one that suits the grid.
    label
        What is decoded; by default the first suited label.
    ends
        Start and stop of samples [s]; by default as the recipe has them.

    Raises
    ------
    SpecError
        If there is no such recipe or label, or the recordings do not suit the recipe.
    """
    if recipe is not None and recipe not in RECIPES:
        raise SpecError("--recipe", found=f"no recipe {recipe!r}", next_step=did_you_mean(recipe, list(RECIPES)))
    traits = read_traits(recordings, label)
    recipe = recipe or default_recipe(traits)
    chosen = RECIPES[recipe]
    if reason := chosen.unsuited(traits):
        raise SpecError(f"recipe {recipe}", found=f"data that it does not suit: {reason}", next_step="neuromvm new --list")
    settings = [
        Setting("name", name),
        Setting("description", scalar(chosen.question)),
        Setting(
            "data", "", _animals(traits), [Setting("spec", scalar(data)), *([Setting("root", scalar(root))] if root else [])]
        ),
        *chosen.settings(traits, ends),
    ]
    lines = [
        *comment(f"{chosen.question} Made by `neuromvm new`, recipe {recipe}, from the recordings. Comments say why."),
        *comment(f"Settings were chosen on: {chosen.chosen_on}. Shown on: {chosen.shown_on}."),
        *comment(f"Run it: neuromvm run FILE --out runs/{name}. What a setting means: neuromvm explain models.mmvm.beta"),
        *yaml_of(settings),
        *_further(traits, recipe),
    ]
    text = "\n".join(lines) + "\n"
    validated(read_yaml(text, f"recipe {recipe}"), f"recipe {recipe}", ExperimentSpec)
    return text


def listed_names() -> list[str]:
    """Return lines with the recipes and their questions, and the experiments and sweeps that are shipped."""
    lines = ["Recipes: neuromvm new OUT.yaml --spec DATA_SPEC --recipe NAME"]
    for name, recipe in RECIPES.items():
        lines += [f"  {name}: {recipe.question}", f"    chosen on: {recipe.chosen_on}", f"    shown on: {recipe.shown_on}"]
    lines.append("Experiments, with their data: neuromvm run NAME --set data.root=FOLDER --out RUN")
    lines += [f"  {name} ({load_experiment_spec(name).data.spec})" for name in shipped_experiments()]
    return [*lines, "Sweeps: neuromvm sweep NAME --set data.root=FOLDER --out SWEEP", f"  {', '.join(shipped_sweeps())}"]


def write_experiment(text: str, path: Path) -> None:
    """Write the text to a new YAML file; SpecError if it has another ending or there is such a file."""
    check_new(path)
    write_atomically(path, text.encode())


def as_seen_from(file: Path, folder_or_file: str) -> str:
    """Return a path, given from the working directory, as relative to the folder of a file; absolute paths stay."""
    path = Path(folder_or_file).expanduser()
    return str(path) if path.is_absolute() else os.path.relpath(path, file.parent)


def _animals(traits: Traits) -> str:
    units = f"{traits.units[0]} to {traits.units[-1]} units" if traits.units[0] < traits.units[-1] else f"{traits.units[0]} units"
    return f"{len(traits.animals)} animals, {units}; leave animals out with `animals: [...]` or `min_units: 9`"


def _further(traits: Traits, recipe: str) -> list[str]:
    """Return what may be added to an experiment, as comments."""
    lines = []
    if recipe != "shared-codes":
        lines += comment("Nulls with everything fitted again, also later: neuromvm refit RUN --n 200")
        lines.append("# nulls: {refits: 200, jobs: 2}")
        if not RECIPES["shared-codes"].unsuited(traits):
            lines += comment(
                "`cross` is read through a map made with labels. Whether animals share a code: neuromvm sharing RUN --n 200"
            )
    continuous = [name for name in traits.other_labels if name == "position"]
    if continuous and traits.grid == "time":
        lines += comment(f"A label that is a number can be predicted: analyses: {{continuous: {{label: {continuous[0]}}}}}")
    return lines
