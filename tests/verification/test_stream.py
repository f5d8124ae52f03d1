"""Streams: every score is that of a file of what was heard, cutting does not matter, clear cases stop early."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from sv_toolkit.backends.calibration import Calibration, FitList
from sv_toolkit.embeddings.waveform import Embedder
from sv_toolkit.errors import AudioError, ConfigError
from sv_toolkit.verification.decision import Judge, Purpose, cosine
from sv_toolkit.verification.stream import Follower, StreamOptions, recut

NO_WISHES = Purpose()
CALIBRATION = Calibration((10.0,), -4.0, prior=0.05, list=FitList("trials", "0" * 12, 10, 10), curve=((-5.0, 1.0, 0.0), (6.0, 0.0, 0.6)))


@pytest.fixture
def embedder(voice_model):
    return Embedder(voice_model())


@pytest.fixture
def samples(write_voice):
    return soundfile.read(write_voice("x", 130, 4.0), dtype="float32")[0]


def follower(embedder, samples, calibration=CALIBRATION, purpose=NO_WISHES, **options):
    enrolled = embedder.embed(samples)
    return Follower(embedder, enrolled.vector, enrolled, Judge(calibration, purpose), StreamOptions(**options))


@pytest.mark.parametrize("history", [10.0, 1.0])
def test_every_score_is_that_of_a_file_of_what_was_heard(embedder, samples, history):
    one = follower(embedder, samples, history=history)
    moments = list(one.follow([samples]))
    rate = embedder.sample_rate
    assert [moment.heard for moment in moments[:-1]] == pytest.approx(np.append(np.arange(0.2, 4.0, 0.2), 4.0))
    num_scored = 0
    for moment in moments:
        heard = samples[: round(moment.heard * rate)][-round(history * rate) :]
        if moment.decision is None:
            with pytest.raises(AudioError, match=moment.reason):
                embedder.embed(heard)
        else:
            num_scored += 1
            alone = embedder.embed(heard)
            assert moment.decision.score == pytest.approx(cosine(one.enrolled, alone.vector), abs=1e-6)
            assert moment.speech == pytest.approx(alone.num_voiced * 0.01)
    assert num_scored > 15
    assert (one.effort.num_scores, one.effort.heard) == (num_scored - 1, 4.0), "the last moment is told twice"


def test_the_last_moment_is_that_of_the_whole_file(embedder, samples, write_voice):
    other = soundfile.read(write_voice("y", 200, 2.07), dtype="float32")[0]
    last = list(follower(embedder, samples).follow([other]))[-1]
    assert last.is_final and not last.is_early
    whole = embedder.embed(other)
    assert last.decision.score == pytest.approx(cosine(embedder.embed(samples).vector, whole.vector), abs=1e-6)


def test_how_the_sound_is_cut_does_not_matter(embedder, samples, rng):
    cuts = np.sort(rng.integers(0, len(samples), 40))
    assert list(follower(embedder, samples).follow(np.split(samples, cuts))) == list(follower(embedder, samples).follow([samples]))


def test_recut_blocks_hold_the_same_samples(rng):
    samples = rng.normal(size=1003)
    for size in (1, 7, 1003, 5000):
        pieces = list(recut(np.split(samples, [0, 1, 500, 500, 900]), size))
        assert np.array_equal(np.concatenate(pieces), samples)
        assert all(len(piece) == size for piece in pieces[:-1])


def test_a_clear_case_stops_at_the_first_moment_beyond_the_margin(embedder, samples):
    moments = list(follower(embedder, samples, stop_accept=1.0).follow([samples]))
    assert moments[-1].is_early and moments[-1].decision.accepted
    assert moments[-1].heard < 4.0
    assert moments[-1].decision.margin >= 1.0
    assert moments[-1].speech >= 0.4, "a whole window at least"
    early_enough = [m for m in moments[:-1] if m.decision is not None and m.speech >= 0.4]
    assert all(m.decision.margin < 1.0 for m in early_enough)


def test_a_clear_impostor_stops_early_too(embedder, samples):
    one = follower(embedder, samples, stop_reject=1.0)
    one.enrolled = -one.enrolled
    last = list(one.follow([samples]))[-1]
    assert last.is_early and not last.decision.accepted
    assert last.decision.margin < -1.0


def test_nothing_more_is_read_after_an_early_decision(embedder, samples):
    def blocks():
        yield samples
        raise AssertionError("read on")

    assert list(follower(embedder, samples, stop_accept=1.0).follow(blocks()))[-1].is_early


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
def test_margins_that_are_out_of_reach_never_stop(embedder, samples, calibration):
    moments = list(follower(embedder, samples, calibration, stop_accept=100.0, stop_reject=100.0).follow([samples]))
    assert not any(moment.is_early for moment in moments)


def test_a_threshold_of_ones_own_has_margins_in_cosines(embedder, samples):
    last = list(follower(embedder, samples, None, Purpose(threshold=0.5), stop_accept=0.3).follow([samples]))[-1]
    assert last.is_early and last.decision.score >= 0.8


def test_memory_is_bounded_by_the_history(embedder, samples, monkeypatch):
    sizes = []
    embed = embedder.embed
    one = follower(embedder, samples, history=0.5)
    monkeypatch.setattr(embedder, "embed", lambda buffer: sizes.append(len(buffer)) or embed(buffer))
    for _ in one.follow(samples for _ in range(3)):
        pass
    assert max(sizes) == 8000


def test_silence_is_followed_without_a_score(embedder, samples):
    moments = list(follower(embedder, samples).follow([np.zeros(16_000, np.float32)]))
    assert all(moment.decision is None for moment in moments)
    assert "silent" in moments[-1].reason


def test_no_sound_at_all_is_an_error(embedder, samples):
    with pytest.raises(AudioError, match="before any sound came"):
        list(follower(embedder, samples).follow([]))


@pytest.mark.parametrize("wrong", [{"history": 0.0}, {"history": 0.05}, {"history": 1e9}, {"hop": 0.0}, {"stop_accept": -1.0}])
def test_impossible_options_are_refused(wrong, embedder, samples):
    with pytest.raises(ConfigError):
        follower(embedder, samples, **wrong)


def test_a_model_with_a_long_window_scores_every_second_and_decides_on_four(voice_model, samples):
    embedder = Embedder(voice_model(windows=(1000, 500, 20)))
    one = follower(embedder, samples)
    assert one.history == 10.0, "the model takes ten seconds at once"
    assert [moment.heard for moment in one.follow([samples])] == [1.0, 2.0, 3.0, 4.0, 4.0]
    early = list(follower(embedder, samples, stop_accept=0.0).follow([samples]))[-1]
    assert early.is_early and early.heard < 4.0
    assert early.speech >= 1.6


def test_history_and_hop_are_as_asked(embedder, samples):
    one = follower(embedder, samples, history=1.0, hop=0.5)
    assert one.history == 1.0
    assert [moment.heard for moment in one.follow([samples])][:3] == [0.5, 1.0, 1.5]


def test_history_and_hop_follow_from_a_short_window(embedder, samples):
    one = follower(embedder, samples)
    assert (one.history, one.step) == (5.0, 3200)
