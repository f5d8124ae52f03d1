"""Running small graphs."""

from __future__ import annotations

import pytest


@pytest.fixture
def run():
    """A function that runs a finished graph on arrays by name, and gives the list of its outputs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")

    def run_graph(graph, **inputs):
        model = graph.model("test", {})
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, inputs)

    return run_graph
