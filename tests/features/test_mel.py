"""Mel filters: their shape, and the warping of the frequency axis."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.mel import Warp, inverse_mel_scale, mel_filters, mel_scale, warped


def definition(num_filters, transform_size, rate, low, high):
    """One weight after the other."""
    weights = np.zeros((transform_size // 2, num_filters))
    step = (mel_scale(high) - mel_scale(low)) / (num_filters + 1)
    for j in range(num_filters):
        left = mel_scale(low) + j * step
        for k in range(transform_size // 2):
            mel = mel_scale(k * rate / transform_size)
            if left < mel < left + 2 * step:
                weights[k, j] = (mel - left) / step if mel <= left + step else (left + 2 * step - mel) / step
    return weights


@pytest.mark.parametrize("case", [(40, 512, 16000, 20.0, 8000.0), (23, 256, 8000, 100.0, 3700.0), (80, 1024, 16000, 0.0, 7600.0)])
def test_filters_agree_with_the_definition(case):
    assert mel_filters(*case) == pytest.approx(definition(*case), abs=1e-9)


def test_neighbours_share_every_bin_between_the_first_and_the_last_center():
    weights = mel_filters(40, 512, 16000, 20.0, 8000.0)
    inner = slice(int(weights[:, 0].argmax()) + 1, int(weights[:, -1].argmax()))
    assert weights[inner].sum(axis=1) == pytest.approx(1)


def test_mel_scale_is_undone_by_its_inverse():
    hertz = np.linspace(0, 8000, 50)
    assert inverse_mel_scale(mel_scale(hertz)) == pytest.approx(hertz)
    assert mel_scale(1000.0) == pytest.approx(1000, rel=1e-3)


def test_filters_without_a_bin_are_refused():
    with pytest.raises(ConfigError, match="num_mel_bins 128 is too large: filter .* a transform of 256 samples"):
        mel_filters(128, 256, 16000, 20.0, 8000.0)


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.0, 1.1, 1.25])
def test_warping_keeps_the_ends_and_divides_in_the_middle(factor):
    warp = Warp(factor, 100.0, 7500.0)
    moved = warped(np.linspace(20, 8000, 1000), 20.0, 8000.0, warp)
    assert moved[[0, -1]] == pytest.approx([20, 8000])
    assert (np.diff(moved) > 0).all()
    assert warped(np.array([1000.0]), 20.0, 8000.0, warp) == pytest.approx(1000 / factor)
    assert warped(np.array([5.0]), 20.0, 8000.0, warp) == pytest.approx(5)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_upper_bend_never_passes_the_cutoff(factor):
    bend = 7500.0 * min(1.0, factor)
    after = warped(np.array([bend]), 20.0, 8000.0, Warp(factor, 100.0, 7500.0))[0]
    assert max(bend, after) == pytest.approx(7500)


def test_warped_filters_move_against_the_factor():
    plain = mel_filters(40, 512, 16000, 20.0, 8000.0)
    stretched = mel_filters(40, 512, 16000, 20.0, 8000.0, Warp(1.2, 100.0, 7500.0))
    assert (stretched[:, 5:35].argmax(axis=0) <= plain[:, 5:35].argmax(axis=0)).all()
    assert stretched[:, 20].argmax() < plain[:, 20].argmax()
