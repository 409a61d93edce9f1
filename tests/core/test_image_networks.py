"""Networks of images and texts, networks of users, likelihoods of a fixed scale, and weights of modalities."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from neuromvm import recordings_of_modalities, register_networks, splits_by_label
from neuromvm.build import build_model
from neuromvm.data.windows import WindowShape, make_samples
from neuromvm.errors import ShapeError, SpecError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.likelihoods import Bernoulli, Gaussian, Laplace
from neuromvm.models import Batch
from neuromvm.networks import Layout, ResidualSize, ToChannels, ToFeatures, residual_readout, residual_trunk
from neuromvm.specs import ModelSpec, SampleSpec, TrainingSpec
from neuromvm.training.fit import fit

PHOTO, TEXT, SIZES = WindowShape(64, 3, 1.0, (8, 8)), WindowShape(6, 5, 1.0), WindowShape(1, 4, 1.0)
SMALL = {"kind": "residual", "channels": 4, "smallest": 3}


def small_networks(layout, latent, width=8):
    """Networks of a user: a convolution for images and texts, a layer for vectors."""
    if len(layout.extent) == 2:
        trunk = nn.Conv2d(layout.channels, width, 3, stride=2)
    elif layout.extent:
        trunk = nn.Conv1d(layout.channels, width, 3)
    else:
        trunk = nn.Linear(layout.channels, width)
    readout = nn.Sequential(nn.Linear(latent, int(np.prod(layout.shape))), nn.Unflatten(1, layout.shape))
    return trunk, readout


def test_pixels_keep_their_channel_on_the_way_to_networks_and_back():
    image = torch.arange(2 * 5 * 4 * 3).reshape(2, 5, 4, 3).float()
    seen = ToChannels(Layout(3, (5, 4)))(image.flatten(1))
    assert seen[1, 2, 3, 1] == image[1, 3, 1, 2]
    torch.testing.assert_close(ToFeatures()(seen), image.flatten(1))


def test_the_published_size_has_the_published_channels_and_sides():
    stages = ResidualSize().stages(Layout(3, (28, 28)))
    assert stages == [(64, (28, 28)), (128, (14, 14)), (256, (7, 7))]
    trunk = residual_trunk(Layout(3, (28, 28)), ResidualSize())
    assert trunk(torch.zeros(1, 3, 28, 28)).shape == (1, 256 * 49)


@pytest.mark.parametrize("extent", [(8, 8), (12, 8), (16,)])
@pytest.mark.parametrize("patch", [1, 2])
def test_residual_networks_return_what_they_were_given(extent, patch):
    size, layout = ResidualSize(3, 6, patch, 2), Layout(2, extent)
    assert residual_readout(layout, size, 5)(torch.zeros(4, 5)).shape == (4, 2, *extent)
    values = torch.randn(4, 2, *extent, requires_grad=True)
    residual_trunk(layout, size)(values).square().sum().backward()
    assert (values.grad != 0).all()  # no pixel is left out


def test_sides_that_a_patch_does_not_divide_are_refused():
    with pytest.raises(ShapeError, match="multiples of the patch, 3"):
        build_model(ModelSpec(sharing="mmvm", networks={**SMALL, "patch": 3}), {"photo": PHOTO}, 0)
    with pytest.raises(ShapeError, match="a vector"):
        build_model(ModelSpec(sharing="mmvm", networks=SMALL), {"sizes": SIZES}, 0)


@pytest.mark.parametrize("name", ["laplace", "gaussian"])
def test_a_fixed_scale_is_that_of_scipy_and_is_not_trained(name):
    likelihood = {"laplace": Laplace, "gaussian": Gaussian}[name](3, scale=0.75)
    raw, target = torch.randn(4, 3), torch.randn(4, 3)
    density = {"laplace": stats.laplace, "gaussian": stats.norm}[name]
    expected = density.logpdf(target.numpy(), raw.numpy(), 0.75).sum(1)
    np.testing.assert_allclose(likelihood.log_prob(raw, target).numpy(), expected, rtol=1e-5)
    assert list(likelihood.parameters()) == []
    assert likelihood.parameters_at(torch.ones(3)) == {}
    with pytest.raises(SpecError, match="has no scale"):
        ModelSpec(sharing="mmvm", likelihood={"kind": "poisson", "scale": 1.0})


def test_grey_values_are_refused_with_the_likelihood_that_fits():
    with pytest.raises(SpecError, match="laplace or gaussian"):
        Bernoulli(2).start_from(torch.tensor([[0.0, 0.5]]))
    with pytest.raises(SpecError, match="poisson"):
        Bernoulli(2).start_from(torch.tensor([[0.0, 3.0]]))


@pytest.mark.parametrize("sharing", ["mmvm", "mmvae_plus", {"kind": "joint", "aggregation": "mixture_of_experts"}])
@pytest.mark.parametrize("networks", ["linear", SMALL])
def test_a_weight_multiplies_the_log_likelihood_of_its_modality(sharing, networks):
    windows = {"photo": PHOTO, "text": TEXT}
    spec = {"sharing": sharing, "networks": networks, "likelihood": {"kind": "laplace", "scale": 0.75}}
    plain = build_model(ModelSpec.model_validate(spec), windows, 0)
    heavy = build_model(ModelSpec.model_validate(spec | {"likelihood_weight_of": {"text": 16.0}}), windows, 0)
    values = {name: torch.randn(3, window.features) for name, window in windows.items()}
    batch = Batch(values, values, torch.ones(2, 3), torch.zeros(3))
    noise = torch.randn(plain.noise_shape[0], 3, plain.noise_shape[1])
    before, after = (model.objective(batch, noise, 0.5) for model in (plain, heavy))
    torch.testing.assert_close(after.log_likelihood, before.log_likelihood * torch.tensor([[1.0], [16.0]]))
    torch.testing.assert_close(after.rate, before.rate)


def test_unknown_modalities_of_weights_and_networks_are_named():
    for setting, value in (("networks_of", "linear"), ("likelihood_weight_of", 2.0)):
        with pytest.raises(SpecError, match=f"{setting}: no animal 'foto'"):
            build_model(ModelSpec.model_validate({"sharing": "mmvm", setting: {"foto": value}}), {"photo": PHOTO}, 0)


def pets():
    random = np.random.default_rng(1)
    pairs = {
        "photo": random.random((24, 8, 8, 3)),
        "text": random.integers(0, 5, (24, 6)),
        "sizes": random.normal(size=(24, 4)),
    }
    labels = {"pet": ["cat", "dog"] * 12, "part": ["train"] * 16 + ["test"] * 8}
    samples = make_samples(recordings_of_modalities(pairs, labels, vocabulary={"text": 5}), SampleSpec(label="pet"))
    return samples, splits_by_label(samples)


@pytest.mark.parametrize("sharing", ["mmvm", "mmvae_plus"])
def test_networks_of_a_user_are_trained_saved_and_read_again(sharing, tmp_path):
    register_networks("small", small_networks)
    samples, splits = pets()
    model = ModelSpec(
        sharing=sharing,
        latent=3,
        networks={"kind": "own", "name": "small", "settings": {"width": 6}},
        networks_of={"sizes": {"kind": "mlp", "hidden": [5]}, "text": {**SMALL, "smallest": 2}},
        likelihood={"kind": "laplace", "scale": 0.75},
        likelihood_of={"text": "categorical"},
        likelihood_weight_of={"text": 4.0},
    )
    training = TrainingSpec(epochs=2, batch_size=8, seeds=[0, 1])
    fitted = fit(samples, splits, model, training, progress=False)
    fitted.save(tmp_path)
    again = FittedStack.load(tmp_path)
    first, second = fitted.embed(samples), again.embed(samples)
    for name in samples.children:
        np.testing.assert_array_equal(first[name]["latent_mean"], second[name]["latent_mean"])
        assert first[name]["latent_mean"].std() > 0
    alone = fit(samples, splits, model, training.model_copy(update={"seeds": [1]}), progress=False).embed(samples)
    np.testing.assert_allclose(alone["photo"]["latent_mean"][0], first["photo"]["latent_mean"][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda layout, latent: nn.Linear(1, 1), "tuple of two"),
        (lambda layout, latent: (nn.BatchNorm2d(3), nn.Linear(latent, 2)), "GroupNorm"),
        (lambda layout, latent: (nn.Dropout(), nn.Linear(latent, 2)), "dropout"),
        (lambda layout, latent: (nn.Flatten(), nn.Linear(latent, 2)), r"output \(2,\)"),
    ],
)
def test_networks_that_cannot_work_are_refused_before_training(factory, message):
    register_networks("wrong", factory)
    with pytest.raises(ShapeError, match=message):
        build_model(ModelSpec(sharing="mmvm", networks={"kind": "own", "name": "wrong"}), {"photo": PHOTO}, 0)


def test_unknown_networks_say_how_to_make_them_known():
    with pytest.raises(SpecError, match="register_networks"):
        build_model(ModelSpec(sharing="mmvm", networks={"kind": "own", "name": "smal"}), {"photo": PHOTO}, 0)
