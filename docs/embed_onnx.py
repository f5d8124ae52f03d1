"""The d-vector of a recording by a model of `sv-export --with-features`, with onnxruntime and numpy alone.

    python embed_onnx.py ge2e.onnx speech.wav > dvector.txt

The recording is a WAV file of 16-bit samples, one channel, at the model's sample rate.
"""

import sys
import wave

import numpy as np
import onnxruntime


def read_wav(path, sample_rate):
    """The samples `(num_samples,)` as float32 in [-1, 1)."""
    with wave.open(path) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, sample_rate):
            raise SystemExit(f"{path}: one channel of 16-bit samples at {sample_rate} Hz is needed")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def main(model, recording):
    """Print the d-vector, one number a line."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    if [node.name for node in session.get_inputs()] != ["waveform"]:
        raise SystemExit(f"{model}: takes more or something else than a waveform; sv-export --with-features writes what is needed here")
    dvector, num_frames = session.run(None, {"waveform": read_wav(recording, int(metadata["sample_rate"]))})
    if not dvector.any():
        raise SystemExit(f"{recording}: {num_frames} frames of speech are too few")
    np.savetxt(sys.stdout, dvector)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python embed_onnx.py MODEL.onnx RECORDING.wav")
    main(*sys.argv[1:])
