"""The graph writer: formulas mean what they mean in numpy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from sv_toolkit.export.graph import Graph  # noqa: E402


def test_formulas_give_what_numpy_gives(run, rng):
    graph, x = Graph(), rng.standard_normal((4, 3)).astype(np.float32)
    weights = rng.standard_normal((3, 2))
    value = graph.input("x", np.float32, ["rows", 3])
    graph.output("y", ((value * 2.0 - 1.0) @ weights + np.arange(2)) / 3.0, ["rows", 2])
    graph.output("signs", (value > 0.0).where(value.size(0), -1), ["rows", 3])
    graph.output("sums", value.transpose(1, 0).sum(1), [3])
    y, signs, sums = run(graph, x=x)
    np.testing.assert_allclose(y, ((x * 2 - 1) @ weights + np.arange(2)) / 3, atol=1e-5)
    np.testing.assert_array_equal(signs, np.where(x > 0, 4, -1))
    np.testing.assert_allclose(sums, x.sum(axis=0), atol=1e-6)


def test_scan_carries_states_and_total_adds_up(run, rng):
    graph, x = Graph(), rng.standard_normal((5, 2)).astype(np.float32)
    value = graph.input("x", np.float32, ["rows", 2])

    def step(state, row):
        state = state * 0.5 + row
        return [state], state * 2.0

    graph.output("filtered", graph.scan(step, [graph.zeros(2)], value, [[2], [2], [2]]), ["rows", 2])
    graph.output("total", graph.total(lambda index: value.take(index), value.size(0), graph.zeros(2), [2]), [2])
    filtered, total = run(graph, x=x)
    expected, state = [], np.zeros(2)
    for row in x:
        state = state * 0.5 + row
        expected.append(state * 2)
    np.testing.assert_allclose(filtered, expected, atol=1e-6)
    np.testing.assert_allclose(total, x.sum(axis=0), atol=1e-6)


def test_equal_constants_are_stored_once_and_types_are_kept_apart():
    graph = Graph()
    first = [graph.constant(np.int64(1)), graph.constant(np.array([1])), graph.constant(1.0, np.float32), graph.constant(1.0, np.float64)]
    again = [graph.constant(np.int64(1)), graph.constant(np.array([1])), graph.constant(1.0, np.float32), graph.constant(1.0, np.float64)]
    assert first == again
    assert len({value.name for value in first}) == 4
