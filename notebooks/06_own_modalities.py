# %% [markdown]
# # Three modalities of your own, with encoders of your own
#
# The models of this package know modalities, not animals: an image, a text and a row of a table are as good as recordings. Here a
# shape is drawn, named and measured; each modality has an encoder and a decoder written for it, in 40 lines of code.
#
# The text of this notebook is a Python script; open it as a notebook with jupytext.

# %%
import numpy as np
from torch import nn

import neuromvm as nm
from neuromvm.analysis.latents.classification import latent_accuracy
from neuromvm.inference.whole_tuples import joint_reconstruction

# %% [markdown]
# ## Data: arrays, and labels of the samples
#
# Images are `(sample, row, column, channel)`, texts integer tokens `(sample, position)`, vectors `(sample, feature)`. Samples of
# one label are partners. `part` says which samples are for test; they are never trained on.

# %%
random = np.random.default_rng(0)
shape = np.resize([0, 1, 2], 240)  # a square, a bar, a frame
image, frame = np.zeros((240, 12, 12, 3)), np.ones((5, 5))
frame[1:4, 1:4] = 0
for number, (row, column) in enumerate(random.integers(0, 8, (240, 2))):
    drawn = (np.ones((5, 5)), np.ones((5, 1)), frame)[shape[number]]
    image[number, row : row + 5, column : column + drawn.shape[1]] = drawn[: 12 - row, :, None] * random.random(3)
words = np.array([[1, 4, 0, 2], [1, 5, 0, 3], [1, 6, 0, 2]])[shape]  # a short sentence each
area = np.array([25.0, 5.0, 16.0])[shape, None] + random.normal(0, 3, (240, 2))
labels = {"shape": shape, "part": np.where(np.arange(240) < 180, "train", "test")}
modalities = nm.recordings_of_modalities({"drawing": image, "name": words, "size": area}, labels)
samples = nm.make_samples(modalities, nm.SampleSpec(label="shape"))
splits = nm.splits_by_label(samples, "part")

# %% [markdown]
# ## Encoders and decoders
#
# A function gets the shape of a modality, `(channel, row, column)`, `(token, position)` or `(feature,)`, and returns two modules:
# one from there to hidden values, and one from latents back. Heads for posterior means and scales are added.


# %%
def networks(layout, latent, width=32):
    convolution = {2: nn.Conv2d, 1: nn.Conv1d}.get(len(layout.extent))
    first = nn.Linear(layout.channels, width) if convolution is None else convolution(layout.channels, width, 3, padding=1)
    pool = {2: nn.AdaptiveMaxPool2d(3), 1: nn.AdaptiveMaxPool1d(3), 0: nn.Identity()}[len(layout.extent)]
    back = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, int(np.prod(layout.shape))))
    return nn.Sequential(first, nn.ReLU(), pool), nn.Sequential(back, nn.Unflatten(1, layout.shape))


nm.register_networks("mine", networks)

# %% [markdown]
# ## The model
#
# A likelihood that fits each modality: Laplace with a fixed scale for pixels, as published, categories for tokens, a Gaussian for
# numbers. Four tokens would drown among 432 pixels, hence their weight.

# %%
model = nm.ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise"},
    latent=4,
    networks={"kind": "own", "name": "mine", "settings": {"width": 24}},
    likelihood={"kind": "laplace", "scale": 0.75},
    likelihood_of={"name": "categorical", "size": "gaussian"},
    likelihood_weight_of={"name": 10.0},
)
fitted = nm.fit(samples, splits, model, nm.TrainingSpec(epochs=60, learning_rate=0.005, seeds=[0, 1]), progress=False)

# %% [markdown]
# ## What the modalities share
#
# A shape is read from the latents of each modality alone, on test samples, one row a seed. Errors are of test tuples.

# %%
accuracy = latent_accuracy(fitted.embed(samples), splits)
print(accuracy.to_pandas().round(2))
print(joint_reconstruction(fitted, samples, splits)["error"].to_pandas().round(3))

# %% [markdown]
# ## A word becomes a picture
#
# The drawing is imputed from the name alone: its expectation, and an interval.

# %%
imputed = nm.impute(fitted, samples, splits, "drawing", given=["name"], draws=20)
print(dict(imputed["mean"].sizes))
assert float(accuracy.sel(modality="name").min()) > 0.9
