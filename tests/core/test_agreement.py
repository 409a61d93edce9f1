"""Agreement and collapse are found where they were put, and nowhere else."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import quad
from scipy.stats import norm

from neuromvm.analysis.latents.agreement_warnings import agreement_warnings
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.inference.agreement import posterior_agreement
from neuromvm.inference.posterior_pairs import TrialMeans, other_condition, same_condition
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.conftest import tuned_recordings

CLASSES = 3


def latents_of(means, scale=0.5, trials=30, windows=1, latent=2, shared=None):
    """Return latents and splits; ``means``: animal -> condition, random -> mean of a sample; half of the trials are tested."""
    random = np.random.default_rng(0)
    nodes, splits = {}, {}
    for name, mean in means.items():
        match = np.resize(np.arange(CLASSES), trials)[:, None] * np.ones((1, windows), dtype=int)
        values = np.stack([mean(code, random) for code in match.ravel()]).reshape(1, trials, windows, latent)
        dims = ("replica", "trial", "window", "latent")
        nodes[name] = xr.Dataset(
            {
                "latent_mean": (dims, values.astype(np.float32)),
                "latent_scale": (dims, np.full(values.shape, scale, np.float32)),
                "match": (("trial", "window"), match),
            },
            {
                "split": ("replica", [0]),
                "seed": ("replica", [0]),
                "latent": np.arange(latent),
                "shared": ("latent", np.ones(latent, bool) if shared is None else shared),
            },
        )
        part = np.where(np.arange(trials) < trials // 2, Part.TRAIN, Part.TEST)[None]
        splits[name] = xr.Dataset({"part": (("split", "trial"), part)}, {"split": [0], "trial": np.arange(trials)})
    return xr.DataTree.from_dict(nodes), xr.DataTree.from_dict(splits)


def by_condition(code, random):
    return np.array([2.0 * code, -1.0 * code])


def shifted(code, random):
    return by_condition(code, random) + np.array([1.0, 0.0])


def at_random(code, random):
    return 2 * random.normal(size=2)


def test_animals_with_the_same_posteriors_agree_entirely():
    about = posterior_agreement(*latents_of({"mitt": by_condition, "stella": by_condition})).isel(replica=0)
    np.testing.assert_allclose(about["agreement"], 1, atol=1e-6)
    np.testing.assert_allclose(about["kl_to_mixture"], 0, atol=1e-6)
    np.testing.assert_allclose(about["pairwise_kl"], 0, atol=1e-6)
    np.testing.assert_allclose(about["ceiling"], math.log(2), atol=1e-6)
    assert (about["agreement_unmatched"] < 0.5).all()
    assert (about["closer"] == 1).all()
    assert about["trials"].values.tolist() == [15, 15]
    assert about["side"] == "test"


def test_agreement_is_the_jensen_shannon_divergence_of_an_integral():
    tree, splits = latents_of({"mitt": by_condition, "stella": shifted})
    about = posterior_agreement(tree, splits, draws=400).isel(replica=0)
    first, second = norm(0, 0.5), norm(1, 0.5)

    def term(p, q):
        return quad(lambda z: p.pdf(z) * (p.logpdf(z) - math.log((p.pdf(z) + q.pdf(z)) / 2)), -4, 5)[0]

    divergence = (term(first, second) + term(second, first)) / 2
    # 15 trials of 400 draws of either animal, each term of a standard deviation below 1 nat
    tolerance = 4 / math.sqrt(2 * 15 * 400)
    assert abs(about["agreement"].sel(animal="mitt", other="stella") - (1 - divergence / math.log(2))) < tolerance
    assert abs(about["kl_to_mixture"].mean() - divergence) < tolerance
    np.testing.assert_allclose(about["pairwise_kl"].sel(animal="mitt", other="stella"), 0.5 * 1 / 0.25, rtol=1e-5)


def test_posteriors_without_overlap_do_not_agree_and_reach_the_ceiling():
    far = {"mitt": by_condition, "stella": lambda code, random: by_condition(code, random) + 100.0}
    about = posterior_agreement(*latents_of(far)).isel(replica=0)
    assert float(about["agreement"].sel(animal="mitt", other="stella")) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(about["kl_to_mixture"], about["ceiling"], rtol=1e-6)


def test_other_conditions_agree_less_and_an_animal_at_random_agrees_with_none():
    tree, splits = latents_of({"mitt": by_condition, "stella": shifted, "barat": at_random}, trials=90)
    about = posterior_agreement(tree, splits)
    pair = about.isel(replica=0).sel(animal="mitt", other="stella")
    assert pair["agreement"] > pair["agreement_unmatched"] + 0.2
    assert pair["closer"] > 0.9
    (said,) = agreement_warnings(about)
    assert "posteriors of barat agree with none" in said
    assert agreement_warnings(posterior_agreement(tree, splits, shares_latents=False)) == []
    del about.attrs["shares_latents"]  # as in files of earlier versions
    assert agreement_warnings(about) == []


def test_standard_errors_are_those_over_trials():
    means = TrialMeans([3], 1)
    means.add(0, np.array([0, 0, 1, 2]), torch.tensor([[1.0, 3.0, 4.0, 9.0]]), torch.tensor([[True, True, True, True]]))
    value, error = means.result()
    assert value.item() == pytest.approx(5)  # every trial weighs the same: (2 + 4 + 9) / 3
    assert error.item() == pytest.approx(np.std([2, 4, 9], ddof=1) / math.sqrt(3))


@pytest.mark.parametrize("seed", range(5))
def test_partners_have_the_same_or_another_condition(seed):
    random = np.random.default_rng(seed)
    code = random.integers(4, size=50)
    same = same_condition(code, random)
    assert (code[same] == code).all()
    assert sorted(same.tolist()) == list(range(50))
    assert (same != np.arange(50)).all()
    assert (code[other_condition(code, random)] != code).all()
    assert other_condition(np.zeros(5, dtype=int), random) is None


def test_a_silent_latent_is_collapsed_and_a_private_one_is_not_compared():
    def mean(code, random):
        return np.array([2.0 * code, 0.7])  # the second is the same for all

    def private(code, random):
        return np.array([2.0 * code, 5 * random.normal()])

    about = posterior_agreement(*latents_of({"mitt": mean, "stella": private}, shared=[True, False])).isel(replica=0)
    assert about["collapsed"].values.tolist() == [[False, True], [False, False]]
    assert float(about["information"].sel(animal="mitt", latent=1)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(about["agreement"], 1, atol=1e-6)  # whatever the private latent does
    variance = np.var(2.0 * np.resize([0, 1, 2], 15))
    signal = variance / (variance + 0.25)
    assert float(about["signal_share"].sel(animal="mitt", latent=0)) == pytest.approx(signal, rel=1e-5)
    assert float(about["information"].sel(animal="mitt", latent=0)) == pytest.approx(-0.5 * math.log(1 - signal), rel=1e-5)


def test_one_animal_has_nothing_to_agree_with():
    about = posterior_agreement(*latents_of({"mitt": by_condition}))
    assert "agreement" not in about
    assert about["collapsed"].dims == ("replica", "animal", "latent")


def test_without_test_trials_the_training_side_is_described():
    tree, splits = latents_of({"mitt": by_condition, "stella": by_condition})
    splits = splits.map_over_datasets(lambda node: node.where(node != Part.TEST, Part.UNUSED) if "part" in node else node)
    about = posterior_agreement(tree, splits)
    assert about["side"].values.tolist() == ["training"]
    assert about["trials"].values.tolist() == [[15, 15]]


@pytest.fixture(scope="module")
def trained():
    recordings = tuned_recordings({"mitt": (12, 60), "stella": (9, 48)})
    samples = make_samples(recordings, SampleSpec(label=["odor"], bin_width=0.5))
    return samples, make_splits(samples, SplitSpec())


@pytest.mark.parametrize("sharing", ["mmvm", "autoencoder", "mmvae_plus", {"kind": "joint", "aggregation": "product_of_experts"}])
def test_a_fitted_model_is_described_and_its_weights_can_be_silenced(trained, sharing, tmp_path):
    samples, splits = trained
    model = ModelSpec(sharing=sharing, latent=3, networks={"kind": "linear"}, beta=0.1)
    fitted = fit(samples, splits, model, TrainingSpec(epochs=10, seeds=[0, 1]), progress=False)
    for name in ("encoders.mitt.mean.weight",):
        fitted.weights[name][:, 1] = 0
    about = posterior_agreement(fitted.embed(samples), splits)
    assert about["collapsed"].sel(animal="mitt").sum("replica").values.tolist()[1] == 2
    assert not about["collapsed"].sel(animal="stella").any()
    assert np.isfinite(about["agreement"]).all() == (sharing != "autoencoder")
    assert f"1 of {about.sizes['latent']} latents of mitt carry nothing" in agreement_warnings(about)[0]
    xr.testing.assert_identical(about, posterior_agreement(fitted.embed(samples), splits))
    about.to_netcdf(tmp_path / "agreement.nc", engine="h5netcdf")
    assert xr.load_dataset(tmp_path / "agreement.nc", engine="h5netcdf")["collapsed"].dtype == bool
