# %% [markdown]
# # Quickstart: five minutes of a simulated lab
#
# Three simulated rats smell four odors. Their neurons differ and their trials differ, but the simulation drives all of them
# from one latent trajectory. We find it again: simulate, load, fit, decode, plot.
#
# The text of this notebook is a Python script; open it as a notebook with jupytext.

# %%
import tempfile
from pathlib import Path

import neuromvm as nm
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.workflow.recipes.write import experiment_text

# %% [markdown]
# ## Simulate, as NWB files
#
# The files are valid NWB, as a lab would share them. With your own files, start at *Load*.

# %%
folder = Path(tempfile.mkdtemp()) / "rats"
rats = {
    "mitt": {"units": 60, "trials": 220},
    "stella": {"units": 35, "trials": 180},
    "barat": {"units": 45, "trials": 160},
}
for path in write_experiment(folder, SimulationConfig(animals=rats), seed=0):
    print(path.relative_to(folder))

# %% [markdown]
# ## Load
#
# A spec says what in the files is a trial, what it is aligned to, and which units to keep. What comes back is an
# `xarray.DataTree` with one node an animal; nothing is padded, and whatever was dropped is counted.

# %%
recordings = nm.load("simulated_rats", folder)
nm.describe(recordings)

# %%
nm.plot_timeline(recordings, label="odor")

# %% [markdown]
# ## Samples and splits
#
# One sample is the activity of 100 to 350 ms after the rat poked its nose into the port. Splits are made on trials, before
# anything is scaled, paired or fitted.

# %%
samples = nm.samples(recordings, start=0.1, stop=0.35, label=["odor"], keep={"odor": ["A", "B", "C", "D"], "in_sequence": [True]})
splits = nm.splits(samples, kind="halves", repeats=2)

# %% [markdown]
# ## Fit
#
# An MMVM VAE, in which each rat is a modality, and independent VAEs that share nothing. Both splits train at once.

# %%
common = {"latent": 6, "beta": 0.01, "networks": {"kind": "linear"}, "scale": "constant", "dropout": 0.5}
training = nm.TrainingSpec(epochs=150, learning_rate=0.003)
models = {
    "mmvm": nm.ModelSpec(sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9}, **common),
    "independent": nm.ModelSpec(sharing="independent", **common),
}
latents = {name: nm.fit(samples, splits, model, training).transform(samples) for name, model in models.items()}
latents["mmvm"]["mitt"]

# %% [markdown]
# ## Decode
#
# Balanced accuracy on held-out trials: the decoder of the same animal (*within*), of another one (*cross*), of all others, and
# one for all (*pooled*); beside raw activity and linear alignments, all on the same trials. Animals are joined by label, so
# *cross* says how well a rat is read through a map made with labels. It does not say that rats share a code.
# *Within - cross* is what is lost between rats.

# %%
scores = nm.compare(samples, splits, latents, canonical_components=3, bootstraps=300, permutations=500)
nm.table(scores)

# %% [markdown]
# Chance is .25. The independent VAEs read their own rat as well as the MMVM VAE does, and no other rat. The shared latent space
# is what the pairing by odor bought, and a linear method (`mcca`) buys it too: compare before you choose.

# %%
nm.plot_scores(scores)

# %%
table = nm.table(scores).set_index("method")
assert float(table.loc["mmvm", "cross"].split()[0]) > 0.5

# %% [markdown]
# ## Look
#
# The first two principal components of the shared latent, test trials of the first split.

# %%
nm.plot_latents(samples, splits, latents)

# %% [markdown]
# ## The same as an experiment
#
# `neuromvm new quickstart.yaml --spec my_lab.yaml` writes an experiment from a recipe and the recordings, here the one for few
# trials of each class; comments say why. `neuromvm run quickstart.yaml --out runs/first` computes it and writes a report.

# %%
print(experiment_text(recordings, "quickstart", "simulated_rats", str(folder), recipe="few-trials"))
