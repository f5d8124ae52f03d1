"""sv-import: a model of another program as a model folder."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, SvCommand, refuse_given
from sv_toolkit.cli.feature_options import WINDOWS

CHECKPOINTS = (".pt", ".whl")
PADDINGS = ("all", "long", "none")
OF_GRAPHS = ("num_mel_bins", "window_type", "sample_rate", "cmvn", "window", "shift", "output", "mean")
OF_RESEMBLYZER = ("padding", "no_preprocess")
KINDS = ("onnx", "resemblyzer")


@click.command(cls=SvCommand)
@click.argument("source", type=FILE)
@click.argument("out", type=FILE)
@click.option("--kind", type=click.Choice(KINDS), help="What SOURCE is.  [.pt, .whl: resemblyzer; else onnx]")
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
@click.option(
    "--padding",
    type=click.Choice(PADDINGS),
    default="long",
    show_default=True,
    help="Resemblyzer: windows filled up with zeros: all, as its package does; the last of recordings above 1.6 s; none.",
)
@click.option("--no-preprocess", is_flag=True, help="Resemblyzer: neither its gain nor its removal of pauses.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def command(
    source: Path,
    out: Path,
    kind: str | None,
    num_mel_bins: int,
    window_type: str,
    sample_rate: int,
    cmvn: str,
    window: int | None,
    shift: int | None,
    shortest: int,
    output: str | None,
    mean: Path | None,
    padding: str,
    no_preprocess: bool,
    overwrite: bool,
) -> None:
    """Make the model folder OUT of SOURCE: an ONNX graph from filter banks to an embedding, or Resemblyzer's weights.

    WeSpeaker and 3D-Speaker publish such graphs: 80 of Kaldi's log-mel filter banks, the mean of each band subtracted.
    Graphs with operators that are not ONNX's own, or with tensors in other files, are refused.  Of Resemblyzer, SOURCE is
    the wheel or the pretrained.pt in it; of the options only --shortest, --padding, --no-preprocess and --overwrite are for
    it.  The folder works with every command that takes a model; its digest covers the graph or the weights.

    Graphs need onnx and onnxruntime: pip install 'sv_toolkit[export]'.

    \b
    Example:
        sv-import voxceleb_resnet34.onnx exp/wespeaker
        sv-import campplus.onnx exp/campplus --window-type povey
        sv-import Resemblyzer-0.1.4-py3-none-any.whl exp/resemblyzer
    """
    if shift is not None and window is not None and shift > window:
        raise click.UsageError(f"--shift {shift} is more than --window {window}: frames would be passed over")
    kind = kind or ("resemblyzer" if source.suffix in CHECKPOINTS else "onnx")
    if kind == "resemblyzer":
        refuse_given(f"is not for {kind}", *OF_GRAPHS)
        from sv_toolkit.models.importing.resemblyzer import ResemblyzerOptions, import_resemblyzer

        report = import_resemblyzer(source, out, ResemblyzerOptions(not no_preprocess, padding, shortest, overwrite))
    else:
        refuse_given(f"is not for {kind}", *OF_RESEMBLYZER)
        from sv_toolkit.features.fbank_config import FbankConfig
        from sv_toolkit.models.importing.onnx_graph import ImportOptions, import_onnx

        features = FbankConfig(sample_rate=sample_rate, num_mel_bins=num_mel_bins, window_type=window_type)
        report = import_onnx(source, out, ImportOptions(features, cmvn, window, shift, shortest, output, mean, overwrite))
    click.echo(f"sv-import: {report}", err=True)
