"""Inner products of pairs against the loop, on both of their paths."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends import pairs
from sv_toolkit.backends.pairs import by_gathering, by_matrix, pair_products


def slow_products(left, right, left_index, right_index):
    return np.array([float(left[i].astype(np.float64) @ right[j].astype(np.float64)) for i, j in zip(left_index, right_index)])


def random_pairs(rng, num_pairs, num_left=40, num_right=60, dim=16, dtype=np.float64):
    left, right = rng.normal(size=(num_left, dim)).astype(dtype), rng.normal(size=(num_right, dim)).astype(dtype)
    return left, right, rng.integers(num_left, size=num_pairs), rng.integers(num_right, size=num_pairs)


@pytest.mark.parametrize("path", [by_gathering, by_matrix], ids=["gathered", "matrix"])
@pytest.mark.parametrize("order", ["sorted", "unsorted"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)], ids=["float64", "float32"])
def test_both_paths_agree_with_the_definition_across_blocks(rng, path, order, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(pairs, "GATHERED_VALUES", 13 * 16)
    monkeypatch.setattr(pairs, "BLOCK_VALUES", 60 * 7)
    left, right, left_index, right_index = random_pairs(rng, 500, dtype=dtype)
    left_index = np.sort(left_index) if order == "sorted" else left_index
    products = path(left, right, left_index, right_index)
    assert products.dtype == dtype
    np.testing.assert_allclose(products, slow_products(left, right, left_index, right_index), atol=tolerance)


@pytest.mark.parametrize("num_pairs", [0, 1, 149, 150, 5000])
def test_products_agree_with_the_definition(rng, num_pairs):
    case = random_pairs(rng, num_pairs)
    np.testing.assert_allclose(pair_products(*case), slow_products(*case), atol=1e-13)


def test_more_rows_than_blocks_can_be_counted(rng, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_BLOCKS", 4)
    monkeypatch.setattr(pairs, "BLOCK_VALUES", 1)
    case = random_pairs(rng, 300, num_left=11)
    np.testing.assert_allclose(by_matrix(*case), slow_products(*case), atol=1e-13)
