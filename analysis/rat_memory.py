"""Figures 3, 4 and 5 of Sutter et al. (2024) with small networks, and the same models scored on held-out trials.

Without the published recordings under ``--data`` it simulates rats in their file layout.
"""

from pathlib import Path

import pandas as pd

import neuromvm as nm
from analysis.tables import EXPERIMENTS, Request, decoding_part, figure, markdown, number, read_request, run, sweep, write_page

NETWORKS = "{kind: mlp, hidden: [32]}"  # the published ones are up to 1,040 units wide and take days on a CPU
EPOCHS = "training.epochs=50"
AUTOENCODER = f"{{sharing: autoencoder, latent: 2, likelihood: squared_error, networks: {NETWORKS}}}"


def small(request: Request) -> list[str]:
    """Return settings that make the networks of every published model small."""
    models = nm.load_experiment_spec(EXPERIMENTS / "published_rats.yaml").models
    settings = [f"models.{name}.networks={NETWORKS}" for name in models]
    return settings if request.quick else [EPOCHS, *settings]


def tradeoff_table(folder: Path) -> pd.DataFrame:
    """Return reconstruction error and accuracy of every model and weight of the rate."""
    cells = pd.read_csv(folder / "table.csv")
    columns = [str(column) for column in cells]
    beta = next(column for column in columns if column.endswith(".beta"))
    models = [column.removesuffix(" reconstruction error") for column in columns if column.endswith(" reconstruction error")]
    settings, table = ("within", "cross", "pooled"), []
    for model in models:
        for cell in cells.to_dict("records"):
            accuracy = {setting: number(cell[f"decoding: balanced accuracy, {model}, {setting}"]) for setting in settings}
            error = f"{cell[f'{model} reconstruction error']:.4g}"
            weight = "" if model == "autoencoder" else cell[beta]  # which has no rate
            table.append({"model": model, "beta": weight, "reconstruction error": error, **accuracy})
    return pd.DataFrame(table).drop_duplicates()


def main(request: Request) -> None:
    """Sweep the weight of the rate, then fit every model at its published weight, in sample and on held-out trials."""
    settings = small(request)
    swept = sweep(request, "published_rats_sweep", *settings, f"models.autoencoder={AUTOENCODER}")
    parts = {
        "tradeoff": f"{figure(request, swept, 'tradeoff', 'Accuracy against reconstruction error')}\n\n"
        + markdown(tradeoff_table(swept)),
        "objective": figure(request, swept, "objective", "Training objective against the weight of the rate"),
    }
    published = run(request, "published_rats", *settings)
    parts["latents"] = figure(request, published.path, "latent_scatter-latents", "Latents, one dot a window")
    parts["in sample"] = decoding_part(published)
    parts["held out"] = decoding_part(run(request, "published_rats_honest", *settings))
    write_page(request, "rat_memory", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
