from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.errors import DataError
from sv_toolkit.training.config import train_config
from sv_toolkit.training.defaults import Material, fitting_tables, told


def material(num_speakers, num_utterances, num_frames, **more):
    counts = np.broadcast_to(num_utterances, num_speakers)
    speaker = np.repeat(np.arange(num_speakers), counts)
    return Material(speaker, np.broadcast_to(num_frames, len(speaker)), **more)


@pytest.mark.parametrize("num_speakers", [2, 3, 12, 30, 74, 251, 1211, 7205])
@pytest.mark.parametrize("num_utterances", [2, 5, 8, 200])
@pytest.mark.parametrize("num_frames", [12, 40, 156, 1500])
def test_what_is_chosen_is_a_configuration_whose_batches_the_data_can_fill(num_speakers, num_utterances, num_frames):
    given = material(num_speakers, num_utterances, num_frames)
    config = train_config(fitting_tables([given]), "chosen")
    assert 2 <= config.batch.num_speakers <= min(num_speakers, 64)
    assert 2 <= config.batch.num_utterances <= min(num_utterances, 10)
    assert config.batch.min_frames <= config.batch.max_frames <= num_frames
    assert config.batch.shortest_usable <= num_frames
    assert config.trainer.valid_interval <= config.trainer.steps
    assert config.augment.noise_probability == 0, "there is no noise unless it is given"


def test_nearly_every_speaker_and_utterance_takes_part(rng):
    counts = rng.integers(4, 40, 100)
    frames = rng.integers(15, 400, counts.sum())
    given = Material(np.repeat(np.arange(100), counts), frames)
    batch = train_config(fitting_tables([given]), "chosen").batch
    usable = frames >= batch.shortest_usable
    assert usable.mean() > 0.95
    assert (np.bincount(given.speaker[usable], minlength=100) >= batch.num_utterances).mean() >= 0.9


def test_no_speaker_of_few_is_left_out_for_an_utterance_too_few():
    speaker = np.repeat(np.arange(12), [7, *[8] * 11])
    assert fitting_tables([Material(speaker, np.full(95, 150))])["batch"]["num_utterances"] == 7
    speaker = np.repeat(np.arange(12), [2, *[8] * 11])
    assert fitting_tables([Material(speaker, np.full(90, 150))])["batch"]["num_utterances"] == 8, "one that would starve the others is"


def test_short_utterances_take_part():
    frames = np.full(96, 150)
    frames[[3, 50]] = 12
    assert fitting_tables([Material(np.repeat(np.arange(12), 8), frames)])["batch"]["shortest"] == 12
    frames[3] = 4
    assert fitting_tables([Material(np.repeat(np.arange(12), 8), frames)])["batch"]["shortest"] == 12, "but not what is hardly there"


def test_more_speakers_get_a_larger_network_longer_crops_and_more_steps():
    few, many = (fitting_tables([material(number, 20, 500)]) for number in (50, 500))
    assert few["network"]["hidden_size"] < many["network"]["hidden_size"]
    assert few["batch"]["max_frames"] < many["batch"]["min_frames"]
    assert few["trainer"]["steps"] < many["trainer"]["steps"]


def test_the_smallest_source_decides_about_the_batch():
    tables = fitting_tables([material(500, 20, 500), material(5, 3, 30)])
    assert (tables["batch"]["num_speakers"], tables["batch"]["num_utterances"]) == (5, 3)
    assert tables["batch"]["max_frames"] <= 30


def test_a_model_to_start_from_keeps_its_network_input_and_windows_and_is_moved_gently():
    start = {"network": {"name": "gru"}, "input": {"cmvn": "utterance"}, "windows": {"window": 300, "shift": 150, "shortest": 30}}
    fresh, tuned = fitting_tables([material(12, 8, 156)]), fitting_tables([material(12, 8, 156)], start)
    assert {name: tuned[name] for name in start} == start
    assert tuned["optimizer"]["learning_rate"] < fresh["optimizer"]["learning_rate"]
    assert tuned["trainer"]["steps"] < fresh["trainer"]["steps"]
    assert train_config(tuned, "chosen").network.name == "gru"


def test_bands_are_taken_away_only_where_powers_add():
    assert fitting_tables([material(12, 8, 156)])["augment"]
    assert not fitting_tables([material(12, 8, 156), material(12, 8, 156, is_log_mel=False)])["augment"]


@pytest.mark.parametrize(("num_speakers", "num_utterances"), [(1, 8), (5, 1), (0, 0)])
def test_what_no_loss_can_compare_is_refused_with_what_there_is(num_speakers, num_utterances):
    with pytest.raises(DataError, match=rf"two utterances .* the data has \d such \({num_speakers} speakers"):
        fitting_tables([material(num_speakers, num_utterances, 100)])


def test_the_choice_is_told_with_what_it_was_made_for():
    given = [material(12, 8, 156)]
    sentence = told(given, fitting_tables(given))
    assert "12 speakers with 8 utterances of 156 frames" in sentence
    assert "lstm of 128, batches of 12 x 8, crops of 15 to 25 frames, 400 steps" in sentence
