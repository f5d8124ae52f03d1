"""sv-import: a model of another program as a model folder."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, SvCommand
from sv_toolkit.cli.feature_options import WINDOWS

KINDS = ("onnx",)


@click.command(cls=SvCommand)
@click.argument("source", type=FILE)
@click.argument("out", type=FILE)
@click.option("--kind", type=click.Choice(KINDS), default="onnx", show_default=True, help="What SOURCE is.")
@click.option("--num-mel-bins", type=click.IntRange(1, 1000), default=80, show_default=True, help="Bands of the filter bank.")
@click.option("--window-type", type=click.Choice(WINDOWS), default="hamming", show_default=True, help="Window of the filter bank.")
@click.option("--sample-rate", type=int, default=16000, show_default=True, help="Of the recordings, hertz.")
@click.option(
    "--cmvn",
    type=click.Choice(("none", "utterance")),
    default="utterance",
    show_default=True,
    help="Whether the mean of each band over the utterance is subtracted.",
)
@click.option("--window", type=click.IntRange(min=1), help="Frames of a sliding window.  [whole utterances, up to five minutes]")
@click.option("--shift", type=click.IntRange(min=1), help="Frames from window to window.  [half a window]")
@click.option("--shortest", type=click.IntRange(min=1), default=40, show_default=True, help="Fewest frames that give an embedding.")
@click.option("--output", help="Name of the graph's output that is the embedding.  [the only one]")
@click.option("--mean", type=FILE, help="File of a vector to subtract from embeddings: .npy or text.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def command(
    source: Path,
    out: Path,
    kind: str,
    num_mel_bins: int,
    window_type: str,
    sample_rate: int,
    cmvn: str,
    window: int | None,
    shift: int | None,
    shortest: int,
    output: str | None,
    mean: Path | None,
    overwrite: bool,
) -> None:
    """Make the model folder OUT of SOURCE, an ONNX graph from filter banks to an embedding.

    WeSpeaker and 3D-Speaker publish such graphs: 80 of Kaldi's log-mel filter banks, the mean of each band subtracted.
    The folder works with every command that takes a model; its digest covers the graph.  Graphs with operators that are
    not ONNX's own, or with tensors in other files, are refused.

    Needs onnx and onnxruntime: pip install 'sv_toolkit[export]'.

    \b
    Example:
        sv-import voxceleb_resnet34.onnx exp/wespeaker
        sv-import campplus.onnx exp/campplus --window-type povey
    """
    if shift is not None and window is not None and shift > window:
        raise click.UsageError(f"--shift {shift} is more than --window {window}: frames would be passed over")
    from sv_toolkit.features.fbank_config import FbankConfig
    from sv_toolkit.models.importing import IMPORTERS
    from sv_toolkit.models.importing.onnx_graph import ImportOptions

    features = FbankConfig(sample_rate=sample_rate, num_mel_bins=num_mel_bins, window_type=window_type)
    options = ImportOptions(features, cmvn, window, shift, shortest, output, mean, overwrite)
    click.echo(f"sv-import: {IMPORTERS[kind](source, out, options)}", err=True)
