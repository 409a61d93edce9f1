"""The records of a training as labelled arrays, and their figure."""

import numpy as np
import pytest

from neuromvm.analysis.figures.training import curves, history

ANIMALS = ["barat", "mitt"]


def records(epochs=4, replicas=3, stopped_at=None, validation=True):
    return [
        {
            "epoch": epoch,
            "loss": [10.0 / epoch + replica for replica in range(replicas)],
            "log_likelihood": [[-epoch - replica, -2.0 * epoch] for replica in range(replicas)],
            "rate": [[1.0 * epoch, 2.0 * epoch] for _ in range(replicas)],
            "validation_loss": [5.0 + replica for replica in range(replicas)] if validation else None,
            "stopped": [stopped_at is not None and replica == 1 and epoch >= stopped_at for replica in range(replicas)],
            "seconds": 0.1,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_history_keeps_every_number_in_its_place():
    about = history(records(), ANIMALS, ANIMALS)
    assert about["loss"].sel(epoch=2).values.tolist() == [5.0, 6.0, 7.0]
    assert float(about["log_likelihood"].sel(epoch=3, animal="mitt")[0]) == -6
    assert float(about["rate"].sel(epoch=4, term="barat")[2]) == 4
    assert float(about["validation_loss"].sel(epoch=1)[1]) == 6


def test_history_says_at_which_epoch_a_replica_stopped():
    assert history(records(stopped_at=3), ANIMALS, ANIMALS)["stopped"].values[1] == 3
    assert np.isnan(history(records(), ANIMALS, ANIMALS)["stopped"]).all()


def test_a_rate_that_is_no_animals_is_a_term():
    joint = [{**record, "rate": [[1.0]] * 3} for record in records()]
    about = history(joint, ANIMALS, ["joint"])
    assert about["term"].values.tolist() == ["joint"]
    assert "rate: joint" in {text.get_text() for text in curves(about).legends[0].get_texts()}


@pytest.mark.parametrize("validation", [True, False])
def test_the_thick_line_is_the_mean_over_replicas(validation):
    figure = curves(history(records(validation=validation), ANIMALS, ANIMALS))
    loss = figure.axes[0]
    mean = max(loss.lines, key=lambda line: line.get_linewidth() * (line.get_color() == "black"))
    np.testing.assert_allclose(mean.get_ydata(), [11, 6, 10 / 3 + 1, 3.5])
    assert any(line.get_linestyle() == "--" for line in loss.lines) == validation


def test_legend_names_every_animal_and_the_axes_have_units():
    figure = curves(history(records(stopped_at=2), ANIMALS, ANIMALS))
    texts = {text.get_text() for text in figure.legends[0].get_texts()}
    assert set(ANIMALS) <= texts
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "log-likelihood [nats]", "rate [nats]"]
