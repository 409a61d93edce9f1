"""Checks of recordings: each finds what was put in, and none speaks on clean recordings."""

import numpy as np
import pytest
import xarray as xr

from neuromvm.data.loaders import load_recordings
from neuromvm.data.quality import findings, mean_activity, with_twins
from tests.data.nwb_files import spike_spec, write_spikes


def recordings(counts: np.ndarray, bin_width: float = 0.05, **labels: object) -> xr.DataTree:
    trials = {
        "onset": ("trial", np.arange(len(counts), dtype=float)),
        **{name: ("trial", values) for name, values in labels.items()},
    }
    coords = {"unit": np.arange(counts.shape[2]), "trial": np.arange(len(counts)), **trials}
    rat = xr.Dataset({"spike_count": (("trial", "time", "unit"), counts.astype(np.uint8))}, coords=coords)
    time = xr.Variable("time", bin_width * (np.arange(counts.shape[1]) + 0.5), {"bin_width": bin_width})
    return xr.DataTree.from_dict({"/": xr.Dataset(coords={"time": time}), "rat": rat})


def clean(seed: int = 0, trials: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.5, (trials, 20, 8))


def test_clean_recordings_raise_no_finding():
    assert sum(len(findings(recordings(clean(seed)))) for seed in range(20)) <= 1


def change(kind: str) -> np.ndarray:
    counts = clean()
    random = np.random.default_rng(1)
    if kind == "artefact":
        counts[[7, 40]] += 3
    elif kind == "drift":
        counts = random.poisson(np.linspace(0.3, 0.9, 60)[:, None, None], counts.shape)
    elif kind == "vanishing":
        counts[45:, :, 3] = 0
    elif kind == "silent":
        counts[..., 5] = 0
    else:
        counts[..., 6] = counts[..., 2] - random.binomial(counts[..., 2], 0.03)
    return counts


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("artefact", "trials 7, 40"),
        ("drift", "8 of 8 units"),
        ("vanishing", "unit 3 is silent in the last 12 of 60 trials"),
        ("silent", "unit 5 is never active"),
        ("twins", "units 2 and 6 correlate 0.9"),
    ],
)
def test_each_check_finds_what_it_is_for(kind, words):
    found = findings(recordings(change(kind)))
    assert [(finding.animal, finding.check) for finding in found] == [("rat", kind)]
    assert words in found[0].sentence


def test_trials_are_taken_in_the_order_of_their_onsets():
    tree = recordings(change("vanishing"))
    shuffled = tree["rat"].to_dataset().isel(trial=np.random.default_rng(3).permutation(60))
    tree = xr.DataTree.from_dict({"/": tree.to_dataset(), "rat": shuffled})
    assert "last 12" in findings(tree)[0].sentence


def test_blocks_of_a_label_are_named_as_another_reason():
    found = findings(recordings(change("vanishing"), odor=np.repeat(["A", "B", "C", "D"], 15)))
    assert "trials are in blocks of odor" in found[0].sentence
    mixed = findings(recordings(change("vanishing"), odor=np.tile(["A", "B", "C", "D"], 15)))
    assert "blocks" not in mixed[0].sentence


def test_coarse_bins_say_nothing_of_twins():
    assert findings(recordings(change("twins"), bin_width=0.5)) == []


def test_twins_by_spike_times_are_named_in_the_table_of_warnings(tmp_path):
    train = np.sort(np.random.default_rng(0).uniform(0, 17, 300))
    write_spikes(tmp_path / "a.nwb", trains=[train, train[::2] + 2e-4, np.sort(np.random.default_rng(1).uniform(0, 17, 300))])
    spec = with_twins(spike_spec())
    sentences = [finding.sentence for finding in findings(load_recordings(spec, tmp_path)) if finding.check == "twins"]
    assert sentences == ["100% of the spikes of unit 1 are those of unit 0: recorded twice? See activity.quality.twins"]
    removing = spike_spec(activity={"quality": {"twins": "remove"}})
    assert with_twins(removing) == removing


def test_mean_activity_is_a_rate_for_counts_in_time():
    counts = clean()
    assert mean_activity(recordings(counts)["rat"].to_dataset()) == pytest.approx(counts.mean(axis=(0, 1)) / 0.05)
