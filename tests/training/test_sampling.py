"""Batches: no speaker and no utterance twice, one length, every crop inside its utterance, the same for the same step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import DataError
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples
from sv_toolkit.training.sampling import draw_batch, random_crop, refuse_small


def examples_of(num_speakers, num_utterances, num_frames=50):
    speakers = [f"s{i}" for i in range(num_speakers)]
    by_speaker = [[f"{speaker}-u{u}" for u in range(num_utterances)] for speaker in speakers]
    frames = {utterance: num_frames for own in by_speaker for utterance in own}
    return Examples(frames=None, dim=3, speakers=speakers, by_speaker=by_speaker, num_frames=frames)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), st.integers(2, 7), st.integers(0, 10_000), st.data())
def test_a_batch_draws_speakers_and_utterances_without_replacement(num_speakers, num_utterances, step, data):
    config = BatchConfig(data.draw(st.integers(2, num_speakers)), data.draw(st.integers(2, num_utterances)), 10, 20)
    draw = draw_batch(examples_of(num_speakers, num_utterances), config, seed=1, step=step)
    ids = [utterance for own in draw.utterances for utterance in own]
    assert len(set(ids)) == len(ids) == config.num_speakers * config.num_utterances
    assert len({own[0].split("-")[0] for own in draw.utterances}) == config.num_speakers
    assert all(len({utterance.split("-")[0] for utterance in own}) == 1 for own in draw.utterances)
    lengths = {stop - start for own in draw.crops for start, stop in own}
    assert len(lengths) == 1 and 10 <= lengths.pop() <= 20


def test_the_same_seed_and_step_draw_the_same_batch_and_others_do_not():
    config, examples = BatchConfig(4, 3, 10, 20), examples_of(20, 8)
    first, again = (draw_batch(examples, config, 7, 3) for _ in range(2))
    assert (first.utterances, first.crops) == (again.utterances, again.crops)
    assert draw_batch(examples, config, 7, 4).utterances != first.utterances
    assert draw_batch(examples, config, 8, 3).utterances != first.utterances


def test_every_start_of_a_crop_is_drawn_the_last_one_too(rng):
    starts = [random_crop(12, 10, rng)[0] for _ in range(600)]
    assert set(starts) == {0, 1, 2}
    assert min(np.bincount(starts)) > 140  # 200 each expected; five standard deviations below is 142


def test_a_short_utterance_is_used_whole(rng):
    assert random_crop(7, 10, rng) == (0, 7)


def test_every_speaker_and_crop_length_comes_up_equally_often():
    config, examples = BatchConfig(2, 2, 10, 12), examples_of(6, 3)
    draws = [draw_batch(examples, config, 0, step) for step in range(900)]
    speakers = np.unique([own[0][:2] for draw in draws for own in draw.utterances], return_counts=True)[1]
    lengths = np.bincount([draw.crops[0][0][1] - draw.crops[0][0][0] for draw in draws])[10:]
    assert len(speakers) == 6 and abs(speakers - 300).max() < 75
    assert len(lengths) == 3 and abs(lengths - 300).max() < 75


def test_too_few_speakers_are_refused_with_both_numbers_and_the_option():
    with pytest.raises(DataError, match=r"needs 64 speakers.*has 4.*--speakers-per-batch"):
        refuse_small(examples_of(4, 10), BatchConfig(64, 10), 2, 2)


def test_one_utterance_per_speaker_is_refused_where_the_loss_needs_two():
    with pytest.raises(DataError, match="num_utterances must be at least 2, got 1"):
        refuse_small(examples_of(4, 10), BatchConfig(4, 1), 2, 2)


def test_tuples_alternate_between_the_own_and_another_speaker_as_evaluation():
    config, examples = BatchConfig(6, 4, 10, 20, sampler="tuples"), examples_of(8, 5)
    for step in range(20):
        draw = draw_batch(examples, config, 0, step)
        same = draw.speakers[:, 0] == draw.speakers[:, 1]
        assert same.tolist() == [True, False] * 3
        assert (draw.speakers[:, 1:] == draw.speakers[:, 1:2]).all()
        assert len(set(draw.speakers[:, 1])) == 6
        for ids in draw.utterances:
            assert len(set(ids)) == 4


def test_every_utterance_comes_up_equally_often_whoever_spoke_it():
    examples = examples_of(3, 4)
    examples.by_speaker[0] = examples.by_speaker[0][:1]
    config = BatchConfig(2, 2, 10, 20, sampler="utterances")
    draws = [draw_batch(examples, config, 0, step) for step in range(900)]
    ids, counts = np.unique([utterance for draw in draws for row in draw.utterances for utterance in row], return_counts=True)
    assert len(ids) == 9 and abs(counts - 400).max() < 75
    assert all(
        utterance.startswith(f"s{speaker}-")
        for draw in draws
        for row, own in zip(draw.utterances, draw.speakers)
        for utterance, speaker in zip(row, own)
    )
    assert all(len({utterance for row in draw.utterances for utterance in row}) == 4 for draw in draws)


@pytest.mark.parametrize("sampler", ["speakers", "tuples", "utterances"])
def test_the_classes_of_a_draw_are_those_of_its_utterances(sampler):
    draw = draw_batch(examples_of(6, 4), BatchConfig(4, 3, 10, 20, sampler=sampler), 1, 2)
    assert [[int(utterance[1]) for utterance in row] for row in draw.utterances] == draw.speakers.tolist()
