import numpy as np
import pytest

from sv_toolkit.features.stacking import stack_frames


def stacked_slowly(features, left, right, step):
    rows = []
    for center in range(0, len(features), step):
        columns = []
        for place in range(center - left, center + right + 1):
            columns.extend(features[min(max(place, 0), len(features) - 1)])
        rows.append(columns)
    return np.array(rows)


@pytest.mark.parametrize(("left", "right", "step"), [(0, 0, 1), (2, 1, 1), (0, 3, 2), (9, 9, 1), (1, 4, 3)])
def test_stacked_frames_agree_with_the_slow_definition(left, right, step):
    features = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    stacked = stack_frames(features, left, right, step)
    np.testing.assert_array_equal(stacked, stacked_slowly(features, left, right, step))
    assert stacked.dtype == np.float32


def test_no_frames_stay_no_frames():
    assert stack_frames(np.zeros((0, 4), dtype=np.float32), 3, 2).shape == (0, 24)


@pytest.mark.parametrize(("left", "right", "step"), [(-1, 0, 1), (0, -1, 1), (0, 0, 0)])
def test_context_and_step_are_checked(left, right, step):
    with pytest.raises(ValueError, match="must not be negative"):
        stack_frames(np.zeros((4, 2)), left, right, step)
