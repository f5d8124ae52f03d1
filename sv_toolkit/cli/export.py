"""sv-export: a model as an ONNX file, for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, MODEL, SvCommand


@click.command(cls=SvCommand)
@click.argument("model", type=MODEL)
@click.argument("out", type=FILE)
@click.option("--lengths", is_flag=True, help="A second input: how many frames count in each row of a padded batch.")
@click.option("--with-features", is_flag=True, help="From the waveform to the d-vector, all in the graph.")
@click.option(
    "--vad",
    type=click.Choice(["model", "input", "none"]),
    help="Frames of speech, with --with-features: found as for the model, given as an input, or all.  [model]",
)
@click.option(
    "--check", "recordings", type=FILE, multiple=True, help="A recording to compare ONNX Runtime and PyTorch on; may be repeated."
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is something else.")
def command(
    model: Path, out: Path, lengths: bool, with_features: bool, vad: str | None, recordings: tuple[Path, ...], overwrite: bool
) -> None:
    """Write the network of the MODEL folder to the ONNX file OUT; it is compared with PyTorch before the file appears.

    The network takes features (batch, num_frames, feature_dim), normalised as in training, and gives embeddings of unit
    length.  --with-features puts everything before and after it into the graph too: it takes a waveform (num_samples,) in
    [-1, 1) at the model's sample rate and gives the d-vector that sv-extract-dvector would write, and the number of frames
    of speech; with fewer than the model's least number, for which sv-extract-dvector skips the utterance, zeros.  The energy
    detector can be in the graph; webrtc cannot.  docs/embed_onnx.py uses such a file without this toolkit.

    Needs onnx and onnxruntime: pip install 'sv_toolkit[export]'.

    \b
    Example:
        sv-export exp/ge2e ge2e.onnx --with-features --check speech.wav
        sv-export exp/ge2e network.onnx --lengths
    """
    if with_features and lengths:
        raise click.UsageError("--lengths belongs to the network alone; leave it or --with-features out")
    if vad is not None and not with_features:
        raise click.UsageError("--vad needs --with-features")
    from sv_toolkit.export.export import export_model
    from sv_toolkit.export.options import ExportOptions

    options = ExportOptions(lengths, with_features, vad or "model")
    click.echo(f"sv-export: {export_model(model, out, options, recordings, overwrite)}", err=True)
