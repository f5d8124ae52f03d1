"""Whether an ONNX file gives what the model gives: ONNX Runtime and PyTorch on the same input, made up and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sv_toolkit.embeddings import waveform
from sv_toolkit.embeddings.embed import embed
from sv_toolkit.embeddings.windows import window_starts
from sv_toolkit.errors import ModelError, SvError, plain
from sv_toolkit.export.graph import onnx
from sv_toolkit.export.options import ExportOptions, FrontEnd, find_front_end
from sv_toolkit.features.prepare import prepare
from sv_toolkit.features.registry import FEATURES, feature_name
from sv_toolkit.features.vad import VadConfig
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.store import Description

try:
    import onnxruntime
except ImportError as error:
    raise SvError(f"onnxruntime cannot be imported ({error}); pip install 'sv_toolkit[export]' brings what sv-export needs") from None

TOLERANCE = 1e-4  # of a coordinate of a vector of unit length
SECONDS = (0.01, 0.7, 3.3)  # of made-up recordings: none, one and several windows of the usual length


@dataclass(frozen=True)
class Case:
    """What goes in, and the vectors `(batch, dim)` or the vector that should come out; `name` is for messages."""

    name: str
    inputs: dict[str, np.ndarray]
    expected: np.ndarray


def open_session(content: bytes, num_threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = num_threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def largest_difference(
    content: bytes,
    network: SpeakerNetwork,
    description: Description,
    front_end: FrontEnd | None,
    with_lengths: bool,
    recordings: tuple[Path, ...],
) -> float:
    """The largest difference of a coordinate between ONNX Runtime and PyTorch.

    Raises:
        ModelError: the file is not valid ONNX, or the difference is more than `TOLERANCE` somewhere.
        AudioError: a recording cannot be read.
    """
    onnx.checker.check_model(content, full_check=True)
    session, largest = open_session(content), 0.0
    cases = network_cases(network, description, with_lengths) if front_end is None else waveform_cases(network, description, front_end)
    recorded = (case for path in recordings for case in recorded_cases(path, network, description, front_end, with_lengths))
    for case in (*cases, *recorded):
        difference = float(np.abs(session.run(None, case.inputs)[0] - case.expected).max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{plain(case.name)}: ONNX Runtime and PyTorch differ by {difference:.2g}, at most {TOLERANCE:g} is allowed; nothing was written"
            )
        largest = max(largest, difference)
    return largest


def network_cases(network: SpeakerNetwork, description: Description, with_lengths: bool) -> Iterator[Case]:
    """Batches of made-up features of several sizes."""
    rng, window = np.random.default_rng(0), description.windows.window
    for batch, num_frames in ((1, window), (3, window), (2, 1), (1, window + window // 2)):
        features = rng.standard_normal((batch, num_frames, description.feature_dim)).astype(np.float32)
        lengths = np.maximum(num_frames // np.arange(1, batch + 1), 1) if with_lengths else None
        yield _network_case("made-up features", network, features, lengths)


def _network_case(name: str, network: SpeakerNetwork, features: np.ndarray, lengths: np.ndarray | None) -> Case:
    given = (torch.from_numpy(features), None if lengths is None else torch.from_numpy(lengths))
    with torch.inference_mode():
        expected = network(*given).numpy()
    return Case(name, {"features": features, **({} if lengths is None else {"lengths": lengths})}, expected)


def waveform_cases(network: SpeakerNetwork, description: Description, front_end: FrontEnd) -> Iterator[Case]:
    """Noise whose level rises and falls, so that a detector has something to find."""
    rng, rate = np.random.default_rng(0), front_end.features.sample_rate
    for seconds in SECONDS:
        time = np.arange(int(seconds * rate)) / rate
        samples = 0.1 * np.sin(7 * time) ** 4 * rng.standard_normal(len(time)) + 1e-4 * rng.standard_normal(len(time))
        yield waveform_case(f"made-up recording of {seconds} s", samples.astype(np.float32), network, description, front_end)


def waveform_case(name: str, samples: np.ndarray, network: SpeakerNetwork, description: Description, front_end: FrontEnd) -> Case:
    """The d-vector of a waveform as `sv-extract-dvector` makes it; zeros where it would skip the utterance."""
    program = program_of(front_end)
    features = program.features(samples)
    is_voiced = program.voiced(samples, features)
    inputs = prepare(features, is_voiced, description.input)
    expected = np.zeros(network(torch.zeros(1, 1, description.feature_dim)).shape[1], np.float32)
    if len(inputs) >= description.windows.shortest:
        expected = embed(network, [inputs], description.windows)[0]
    mask = {"is_voiced": is_voiced} if front_end.takes_mask and is_voiced is not None else {}
    return Case(name, {"waveform": samples, **mask}, expected)


def program_of(front_end: FrontEnd) -> waveform.FrontEnd:
    """The front end by the program itself; where decisions are an input, energy finds some to give."""
    compute = FEATURES[feature_name(front_end.features)].compute
    detector = front_end.vad or (VadConfig(kind="energy") if front_end.takes_mask else None)
    return waveform.FrontEnd(compute, front_end.features, detector)


def recorded_cases(
    path: Path, network: SpeakerNetwork, description: Description, front_end: FrontEnd | None, with_lengths: bool
) -> Iterator[Case]:
    """A recording: the whole way, or its windows through the network."""
    known = front_end or recorded_front_end(description)
    samples = read_waveform(AudioRequest(str(path), "", "", sample_rate=known.features.sample_rate)).samples
    if front_end is not None:
        yield waveform_case(str(path), samples, network, description, front_end)
        return
    inputs = prepare(program_of(known).features(samples), None, description.input)
    window = min(description.windows.window, len(inputs))
    if len(inputs) == 0:
        raise ModelError(f"{plain(path)}: is shorter than a frame; give a longer recording to check with")
    for start in window_starts(len(inputs), window, description.windows.shift):
        features = inputs[None, start : start + window]
        yield _network_case(str(path), network, features, np.array([window]) if with_lengths else None)


def recorded_front_end(description: Description) -> FrontEnd:
    """How features are made of a recording, all frames kept.

    Raises:
        ModelError: the model does not say it.
    """
    found = find_front_end(description, Path("the model"), ExportOptions(with_features=True, vad="none"))
    assert found is not None
    return found
