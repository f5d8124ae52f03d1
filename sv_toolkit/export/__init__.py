"""Models for other programs: the network, or everything from the waveform to the d-vector, as one ONNX graph."""
