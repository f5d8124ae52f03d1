"""Batches: no speaker and no utterance twice, one length, every crop inside its utterance, the same for the same step."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import DataError
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.sampling import distinct_numbers, draw_batch, draw_length, random_starts, refuse_small, refuse_wrong_rows


class Material(SimpleNamespace):
    """What sampling needs of `Examples`: utterance i is of speaker `owner[i]`."""

    def __len__(self):
        return len(self.owner)


def examples_of(*counts, num_frames=50):
    """Speakers with so many utterances each."""
    ends = np.cumsum([0, *counts])
    owner = np.repeat(np.arange(len(counts)), counts)
    return Material(
        speakers=[f"s{i}" for i in range(len(counts))],
        usable=SimpleNamespace(ends=ends),
        owner=owner,
        num_frames=np.full(len(owner), num_frames),
    )


def draw(examples, config, seed, step):
    return draw_batch(examples, config, np.random.default_rng([seed, step]))


@settings(max_examples=60)
@given(st.lists(st.integers(2, 7), min_size=2, max_size=9), st.integers(0, 10_000), st.data())
def test_a_batch_draws_speakers_and_utterances_without_replacement(counts, step, data):
    config = BatchConfig(data.draw(st.integers(2, len(counts))), data.draw(st.integers(2, min(counts))), 10, 20)
    examples = examples_of(*counts)
    found = draw(examples, config, 1, step)
    assert found.places.shape == found.speakers.shape == (config.num_speakers, config.num_utterances)
    assert len(np.unique(found.places)) == found.places.size
    assert (examples.owner[found.places] == found.speakers).all() and (found.speakers == found.speakers[:, :1]).all()
    assert len(np.unique(found.speakers[:, 0])) == config.num_speakers
    assert 10 <= found.num_frames <= 20 and (found.starts >= 0).all() and (found.starts + found.num_frames <= 50).all()


@settings(max_examples=60)
@given(st.lists(st.integers(3, 9), min_size=3, max_size=6), st.integers(1, 5), st.integers(0, 10_000))
def test_a_second_utterance_of_a_session_comes_after_one_of_every_other(counts, num_sessions, step):
    examples = examples_of(*counts)
    examples.sessions = np.random.default_rng(step).integers(num_sessions, size=len(examples))
    found = draw(examples, BatchConfig(3, 3, 10, 20, across_sessions=True), 1, step)
    assert (examples.owner[found.places] == found.speakers).all() and len(np.unique(found.places)) == found.places.size
    for speaker, places in zip(found.speakers[:, 0], found.places):
        own = examples.sessions[examples.owner == speaker]
        assert len(np.unique(examples.sessions[places])) == min(3, len(np.unique(own)))


def test_across_sessions_sessions_are_equally_likely_and_so_are_the_utterances_of_one():
    examples = examples_of(5, 5)
    examples.sessions = np.array([0, 0, 0, 0, 1] * 2)
    config = BatchConfig(2, 1, 10, 20, across_sessions=True)
    counts = np.bincount(np.concatenate([draw(examples, config, 3, step).places.ravel() for step in range(4000)]), minlength=10) / 4000
    np.testing.assert_allclose(counts, [0.125, 0.125, 0.125, 0.125, 0.5] * 2, atol=0.03)


def test_the_same_seed_and_step_draw_the_same_batch_and_others_do_not():
    config, examples = BatchConfig(4, 3, 10, 20), examples_of(*[8] * 20)
    first, again = (draw(examples, config, 7, 3) for _ in range(2))
    assert (first.places == again.places).all() and (first.starts == again.starts).all() and first.num_frames == again.num_frames
    assert (draw(examples, config, 7, 4).places != first.places).any()
    assert (draw(examples, config, 8, 3).places != first.places).any()


@given(st.lists(st.integers(3, 6), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 1000))
def test_distinct_numbers_are_distinct_and_below_their_totals(totals, count, seed):
    found = distinct_numbers(np.array(totals), count, np.random.default_rng(seed))
    for row, total in zip(found.tolist(), totals):
        assert len(set(row)) == count and all(0 <= number < total for number in row)


def test_every_ordered_choice_of_distinct_numbers_comes_up_equally_often(rng):
    found = distinct_numbers(np.full(24_000, 4), 3, rng)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 24 and abs(counts - 1000).max() < 160  # five standard deviations


def test_every_start_of_a_crop_is_drawn_the_last_one_too(rng):
    starts = random_starts(np.full(600, 12), 10, rng)
    assert set(starts.tolist()) == {0, 1, 2}
    assert min(np.bincount(starts)) > 140  # 200 each expected; five standard deviations below is 142


def test_a_short_utterance_begins_at_its_first_frame(rng):
    assert random_starts(np.array([7, 10]), 10, rng).tolist() == [0, 0]


def test_every_speaker_and_crop_length_comes_up_equally_often():
    config, examples = BatchConfig(2, 2, 10, 12, length_step=1), examples_of(*[3] * 6)
    draws = [draw(examples, config, 0, step) for step in range(900)]
    speakers = np.bincount([speaker for found in draws for speaker in found.speakers[:, 0]])
    lengths = np.bincount([found.num_frames for found in draws])[10:]
    assert len(speakers) == 6 and abs(speakers - 300).max() < 75
    assert len(lengths) == 3 and abs(lengths - 300).max() < 75


@pytest.mark.parametrize(("step", "lengths"), [(4, {10, 14, 18}), (8, {10, 18}), (100, {10}), (0, set(range(10, 21)))])
def test_crop_lengths_lie_on_the_grid(rng, step, lengths):
    assert {draw_length(BatchConfig(2, 2, 10, 20, step), rng) for _ in range(200)} == lengths


def test_too_few_speakers_are_refused_with_both_numbers_and_the_option():
    with pytest.raises(DataError, match=r"needs 64 speakers.*has 4.*--speakers-per-batch"):
        refuse_small(examples_of(*[10] * 4), BatchConfig(64, 10), 2, 2)


def test_one_utterance_per_speaker_is_refused_where_the_loss_needs_two():
    with pytest.raises(DataError, match="num_utterances must be at least 2, got 1"):
        refuse_small(examples_of(*[10] * 4), BatchConfig(4, 1), 2, 2)


def test_tuples_alternate_between_the_own_and_another_speaker_as_evaluation():
    config, examples = BatchConfig(6, 4, 10, 20, sampler="tuples"), examples_of(*[5] * 8)
    for step in range(20):
        found = draw(examples, config, 0, step)
        same = found.speakers[:, 0] == found.speakers[:, 1]
        assert same.tolist() == [True, False] * 3
        assert (found.speakers[:, 1:] == found.speakers[:, 1:2]).all()
        assert len(set(found.speakers[:, 1].tolist())) == 6
        assert all(len(set(row)) == 4 for row in found.places.tolist())


def test_every_utterance_comes_up_equally_often_whoever_spoke_it():
    examples = examples_of(1, 4, 4)
    config = BatchConfig(2, 2, 10, 20, sampler="utterances")
    draws = [draw(examples, config, 0, step) for step in range(900)]
    counts = np.bincount(np.concatenate([found.places.ravel() for found in draws]))
    assert len(counts) == 9 and abs(counts - 400).max() < 75
    assert all(len(set(found.places.ravel().tolist())) == 4 for found in draws)


@pytest.mark.parametrize("sampler", ["speakers", "tuples", "utterances"])
def test_the_speakers_of_a_draw_are_those_of_its_utterances(sampler):
    examples = examples_of(4, 3, 5, 4, 3, 4)
    found = draw(examples, BatchConfig(4, 3, 10, 20, sampler=sampler), 1, 2)
    assert (examples.owner[found.places] == found.speakers).all()


@pytest.mark.parametrize(
    ("sampler", "place", "other", "message"),
    [
        ("speakers", slice(1, 2), 0, "a speaker stands in two rows"),
        ("speakers", (2, slice(1, 2)), 5, "a row of the batch holds more than one speaker"),
        ("tuples", (2, slice(2, 3)), 5, "enrollment utterances of a tuple are of more than one speaker"),
    ],
)
def test_rows_that_would_teach_the_wrong_thing_are_refused(sampler, place, other, message):
    speakers = np.repeat(np.arange(4)[:, None], 3, axis=1)
    refuse_wrong_rows(speakers, sampler)
    speakers[place] = other
    with pytest.raises(ValueError, match=message):
        refuse_wrong_rows(speakers, sampler)


@pytest.mark.parametrize(
    ("shortest", "longest", "lengths"), [(140, 180, range(140, 181, 4)), (15, 25, range(15, 26)), (30, 30, range(30, 31))]
)
def test_there_are_some_ten_crop_lengths_unless_a_step_is_given(shortest, longest, lengths):
    assert BatchConfig(2, 2, shortest, longest).lengths == lengths
