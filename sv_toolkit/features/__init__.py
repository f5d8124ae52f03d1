"""Signal: waveforms and features, arrays in, arrays out; no files."""
