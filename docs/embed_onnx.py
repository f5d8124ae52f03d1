"""The d-vector of a recording by a model of `sv-export --with-features`, with onnxruntime and numpy alone.

    python embed_onnx.py ge2e.onnx speech.wav > dvector.txt
    python embed_onnx.py ge2e.onnx speech.wav voiced.txt > dvector.txt    # of sv-export --with-features --vad input

The recording is a WAV file of 16-bit samples, one channel, at the model's sample rate.  voiced.txt holds 0 or 1 for every
frame of the features (every 10 ms, as a rule): which of them are speech.
"""

import sys
import wave

import numpy as np
import onnxruntime


def read_wav(path, sample_rate):
    """The samples `(num_samples,)` as float32 in [-1, 1)."""
    try:
        with wave.open(path) as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, sample_rate):
                raise SystemExit(f"{path}: one channel of 16-bit samples at {sample_rate} Hz is needed")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    except (OSError, EOFError, wave.Error) as error:
        raise SystemExit(f"{path}: cannot be read as a WAV file: {getattr(error, 'strerror', None) or error}") from None


def read_voiced(path):
    """Which frames are speech, `(num_frames,)` bool."""
    try:
        with open(path, encoding="utf-8") as file:
            words = file.read().split()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not words or set(words) - {"0", "1"}:
        raise SystemExit(f"{path}: 0 or 1 for every frame is needed")
    return np.array(words) == "1"


def load(model):
    """The graph, ready to run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is told below, in one line
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no other class
        raise SystemExit(f"{model}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None


def main(model, recording, voiced=None):
    """Print the d-vector, one number a line."""
    session = load(model)
    inputs = [node.name for node in session.get_inputs()]
    if inputs[:1] != ["waveform"]:
        raise SystemExit(f"{model}: takes no waveform; sv-export --with-features writes what is needed here")
    if (len(inputs) > 1) != (voiced is not None):
        raise SystemExit(
            f"{model}: {'needs a file that says which frames are speech' if voiced is None else 'finds speech by itself'}; {__file__} says how"
        )
    values = {"waveform": read_wav(recording, int(session.get_modelmeta().custom_metadata_map["sample_rate"]))}
    if voiced is not None:
        values[inputs[1]] = read_voiced(voiced)
    try:
        dvector, num_frames = session.run(None, values)
    except Exception as error:  # a number of frames that does not fit, for one
        raise SystemExit(f"{recording}: onnxruntime cannot run the model on it: {str(error).splitlines()[0]}") from None
    if not dvector.any():
        raise SystemExit(f"{recording}: {num_frames} frames of speech are too few")
    np.savetxt(sys.stdout, dvector)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python embed_onnx.py MODEL.onnx RECORDING.wav [VOICED.txt]")
    main(*sys.argv[1:])
