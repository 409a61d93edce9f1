import numpy as np
import pytest
import xarray as xr
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from neuromvm.analysis.baselines.components import principal_axes
from neuromvm.analysis.baselines.hyperalignment import Hyperaligned
from neuromvm.analysis.baselines.mcca import CanonicalVariates, multiset_cca
from neuromvm.analysis.baselines.procrustes import ProcrustesAligned, procrustes
from neuromvm.analysis.baselines.srm import SharedResponses
from neuromvm.analysis.decoding.decoding import Options, baseline
from neuromvm.analysis.readouts.representations import Inputs, Latents, Training, training_side
from neuromvm.errors import ShapeError
from tests.analysis.simulation import poisoned, shared_latents, simulate, study_of, with_node

OPTIONS = Options(principal_components=4, canonical_components=3, response_components=3)


def training_sets(rng, animals=3, classes=4, per_class=6, features=5):
    means = rng.standard_normal((classes, 2))
    sets = {}
    for number in range(animals):
        match = np.repeat(np.arange(classes), per_class).astype(np.int16)
        values = means[match] @ rng.standard_normal((2, features)) + 0.5 * rng.standard_normal((len(match), features))
        sets[f"rat{number}"] = Training((values - values.mean(axis=0)) / values.std(axis=0), match)
    return sets


def inputs_of(study):
    return Inputs(study.samples, study.splits)


def test_principal_axes_span_those_of_sklearn():
    samples = np.random.default_rng(0).standard_normal((30, 6)) * np.arange(1, 7)
    assert subspace_angles(principal_axes(samples, 3).axes, PCA(3).fit(samples).components_.T).max() < 1e-6


def test_procrustes_recovers_a_rotation_and_shift():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((6, 3))
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    found = procrustes(source @ rotation + 5, source)
    np.testing.assert_allclose(found(source @ rotation + 5), source, atol=1e-10)
    noisy = source @ rotation + 0.3 * rng.standard_normal(source.shape)
    centred = (one - one.mean(axis=0) for one in (noisy, source))
    np.testing.assert_allclose(procrustes(noisy, source).rotation, orthogonal_procrustes(*centred)[0], atol=1e-10)


def test_procrustes_maps_between_different_numbers_of_components():
    rng = np.random.default_rng(0)
    mapped = procrustes(rng.standard_normal((6, 5)), rng.standard_normal((6, 3)))(rng.standard_normal((2, 4, 5)))
    assert mapped.shape == (2, 4, 3)


def test_multiset_cca_is_the_limit_of_redrawn_pairs():
    rng = np.random.default_rng(0)
    training, ridge = training_sets(rng), 0.5
    whitened, maps = {}, {}
    for name, one in training.items():
        variance, axes = np.linalg.eigh(one.features.T @ one.features / len(one.features))
        maps[name] = axes / np.sqrt(variance + ridge)
        whitened[name] = one.features @ maps[name]
    rows = []
    for _ in range(1000):
        order = {name: np.concatenate([rng.permutation(6) + 6 * label for label in range(4)]) for name in training}
        rows.append(np.concatenate([whitened[name][order[name]] for name in training], axis=1))
    directions = np.linalg.svd(np.concatenate(rows), full_matrices=False)[2][:2].T
    drawn = np.concatenate([maps[name] @ block for name, block in zip(training, np.split(directions, 3), strict=True)])
    found = multiset_cca(training, components=2, ridge=ridge)
    assert subspace_angles(drawn, np.concatenate(list(found.values()))).max() < 0.05


def test_multiset_cca_is_the_same_with_more_features_than_samples():
    training = training_sets(np.random.default_rng(0), features=5)
    repeated = {name: Training(np.tile(one.features, (1, 8)), one.match) for name, one in training.items()}
    few = multiset_cca(training, components=2, ridge=1.0)
    many = multiset_cca(repeated, components=2, ridge=8.0)  # eight copies: eight times the variance in each direction
    views = [
        np.concatenate([sets[name].features @ maps[name] for name in sets]) for sets, maps in ((training, few), (repeated, many))
    ]
    assert subspace_angles(*views).max() < 1e-6


def test_multiset_cca_is_maxvar_gcca_where_each_class_has_one_sample():
    """Variates of all animals together span the leading eigenvectors of the sum of their (ridged) projections."""
    rng = np.random.default_rng(0)
    match = np.arange(12, dtype=np.int16)
    training = {f"rat{number}": Training(rng.standard_normal((12, 4)), match) for number in range(3)}
    maps = multiset_cca(training, components=2, ridge=0.5)
    hats = 0
    for one in training.values():
        gram = one.features.T @ one.features + 0.5 * 12 * np.eye(4)
        hats = hats + one.features @ np.linalg.solve(gram, one.features.T)
    leading = np.linalg.eigh(hats)[1][:, -2:]
    found = sum(one.features @ maps[name] for name, one in training.items())
    assert subspace_angles(found, leading).max() < 1e-6


def test_multiset_cca_refuses_more_components_than_dimensions():
    with pytest.raises(ShapeError, match="15 dimensions"):
        multiset_cca(training_sets(np.random.default_rng(0)), components=15, ridge=1.0)


@pytest.mark.parametrize("name", OPTIONS.baselines)
def test_test_trials_change_nothing_that_is_fitted(name):
    study = simulate()
    found = [baseline(name, inputs_of(one), OPTIONS) for one in (study, poisoned(study))]
    for source in study.samples.children:
        for target in study.samples.children:
            side = training_side(study.splits, 0, target)
            views = [one.seen(0, source, target) for one in found]
            if views[0] is None:
                assert views[1] is None
            else:
                np.testing.assert_array_equal(views[0][side], views[1][side])


def test_latents_are_scaled_by_training_trials():
    study = simulate()
    latents = shared_latents(study)
    changed = latents
    for name, node in latents.children.items():
        dataset = node.to_dataset().copy(deep=True)
        dataset["latent_mean"].values[0][~training_side(study.splits, 0, name)] = 1e6
        changed = with_node(changed, name, dataset)
    views = [Latents(one, study.splits, inverse_penalty=1).seen(0, "rat0", "rat1") for one in (latents, changed)]
    side = training_side(study.splits, 0, "rat1")
    np.testing.assert_array_equal(views[0][side], views[1][side])


def test_scaled_latents_have_unit_pooled_deviation():
    study = simulate()
    seen = Latents(shared_latents(study), study.splits, inverse_penalty=1)
    pooled = np.concatenate([seen.seen(1, name, name)[training_side(study.splits, 1, name)] for name in study.samples.children])
    np.testing.assert_allclose(pooled.reshape(-1, 3).std(axis=0), 1, rtol=1e-5)


def test_latents_of_other_trials_are_refused():
    study = simulate()
    latents = shared_latents(study)
    with pytest.raises(Exception, match="trials"):
        Latents(xr.DataTree.from_dict({"rat0": latents["rat1"].to_dataset()}), study.splits, inverse_penalty=1)


def distances(representation):
    """Return distances of trials of one animal to those of another, which do not depend on the signs of axes."""
    return cdist(*(representation.seen(0, "rat0", name)[:, 0] for name in ("rat0", "rat1")))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ProcrustesAligned, {"components": 4}),
        (CanonicalVariates, {"components": 3, "ridge": 1.0}),
        (SharedResponses, {"components": 2}),
        (Hyperaligned, {"components": 4}),
    ],
)
def test_order_of_animals_and_units_is_irrelevant(kind, settings):
    study = simulate()
    turned = {
        name: study.samples[name].to_dataset().isel(unit=slice(None, None, -1)) for name in reversed(list(study.samples.children))
    }
    samples = xr.DataTree.from_dict(turned)
    samples.attrs = study.samples.attrs
    views = [distances(kind(inputs_of(one), inverse_penalty=1, **settings)) for one in (study, study_of(samples, study.splits))]
    np.testing.assert_allclose(*views, atol=1e-3)
