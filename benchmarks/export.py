"""LSTMs with projection as sv-export writes them, in ONNX Runtime, beside torch.nn.LSTM in the network itself.

The text-independent size (3 x 768, 256 outputs) and the text-dependent one (3 x 128, 64) of Wan et al. 2018, on one
window and on 64, of 160 frames of 40 bands; one thread each.
"""

from __future__ import annotations

import numpy as np
import torch
from common import alternate, save

from sv_toolkit.errors import SvError
from sv_toolkit.models.lstm import LstmConfig, LstmDvector

SIZES = {"tisv": LstmConfig(768, 256, 3, 256), "tdsv": LstmConfig(128, 64, 3, 64)}


def measure(name: str, config: LstmConfig, batch: int) -> None:
    from sv_toolkit.export.check import open_session
    from sv_toolkit.export.graph import Graph
    from sv_toolkit.export.networks import embeddings

    network, graph = LstmDvector(40, config).eval(), Graph()
    value = graph.input("features", np.float32, ["batch", "num_frames", 40])
    graph.output("embeddings", embeddings("lstm", network, value), ["batch", config.embedding_dim])
    session = open_session(graph.model(name, {}).SerializeToString())
    features = np.random.default_rng(0).standard_normal((batch, 160, 40)).astype(np.float32)

    def in_torch() -> None:
        with torch.inference_mode():
            network(torch.from_numpy(features))

    times = alternate({"onnxruntime": lambda: session.run(None, {"features": features}), "torch": in_torch})
    sizes = f"LSTM 3 x {config.hidden_size}, {config.projection_size} outputs, {batch} x 160 frames, float32, 1 thread"
    save(f"export_{name}_{batch}", times, reference="torch", unit=sizes, batch=batch)


def main() -> None:
    torch.set_num_threads(1)
    try:
        for name, config in SIZES.items():
            for batch in (1, 64):
                measure(name, config, batch)
    except SvError as error:
        print(f"export: skipped, {error}")


if __name__ == "__main__":
    main()
