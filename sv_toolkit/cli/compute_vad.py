"""sv-compute-vad: which frames hold speech."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FINITE,
    Progress,
    allow_pipes_option,
    max_bad_option,
    nj_option,
    overwrite_option,
    resume_option,
    say_done,
    share_options,
)
from sv_toolkit.cli.feature_options import (
    FRAMING_HELP,
    KaldiCommand,
    channel_option,
    config_option,
    fbank_options,
    override,
    prepare_process,
    read_tables,
    resample_option,
)
from sv_toolkit.features.registry import VADS

if TYPE_CHECKING:
    from sv_toolkit.io.parts import Share

ENERGY = ("source", "energy_threshold", "energy_mean_scale", "energy_threshold_below_max", "frames_context", "proportion_threshold")
WEBRTC = ("mode", "frame_ms", "hangover")
COMMON = ("kind", "keep", "min_frames")


@click.command(cls=KaldiCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY, required=False)
@config_option
@click.option("--kind", type=click.Choice(list(VADS)), help="Detector.  [webrtc]")
@click.option("--keep", type=click.Choice(["voiced", "span"]), help="Voiced frames, or all from the first to the last of them.  [voiced]")
@click.option("--min-frames", type=click.IntRange(min=0), help="Where fewer frames are voiced, keep the loudest run of this many.  [0]")
@click.option("--mode", type=click.IntRange(0, 3), help="webrtc: 0 keeps most, 3 cuts most.  [2]")
@click.option("--frame-ms", type=click.Choice(["10", "20", "30"]), help="webrtc: block that it judges, milliseconds.  [10]")
@click.option("--hangover", type=click.IntRange(min=0), help="webrtc: frames by which voiced runs grow at both ends.  [0]")
@click.option("--source", type=click.Choice(["waveform", "features"]), help="energy: of the samples, or of feats.scp.  [waveform]")
@click.option("--vad-energy-threshold", "energy_threshold", type=FINITE, help="energy: log energy that a loud frame exceeds.  [5.5]")
@click.option("--vad-energy-mean-scale", "energy_mean_scale", type=FINITE, help="energy: plus this times the utterance's mean.  [0.5]")
@click.option("--energy-threshold-below-max", type=FINITE, help="energy: instead of these, so far below the loudest place (nats).")
@click.option(
    "--vad-frames-context", "frames_context", type=click.IntRange(min=0), help="energy: neighbours to either side that vote.  [2]"
)
@click.option("--vad-proportion-threshold", "proportion_threshold", type=FINITE, help="energy: share of loud ones that decides.  [0.6]")
@fbank_options(FRAMING_HELP)
@channel_option
@resample_option
@nj_option
@max_bad_option
@overwrite_option
@resume_option
@allow_pipes_option
@share_options
def command(
    data: Path,
    out: Path | None,
    config_file: Path | None,
    channel: int | None,
    resample: bool,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    allow_pipes: bool,
    share: Share,
    **given: Any,
) -> None:
    """Write which frames of every utterance of DATA hold speech to OUT/vad.scp, as vectors of 0 and 1.

    OUT (default: DATA) becomes a data directory.  The frames are those of the features in DATA; without features,
    those of the options --frame-length, --frame-shift and --snip-edges.  An utterance without speech is skipped.

    \b
    Example:
        sv-compute-vad --mode 3 --keep span data/train
        sv-compute-vad --kind energy --vad-energy-threshold 5 --config conf/vad.toml data/train
    """
    prepare_process()
    from sv_toolkit.config import build
    from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
    from sv_toolkit.extraction.vad import compute_vad
    from sv_toolkit.features.fbank import FbankConfig
    from sv_toolkit.features.vad import vad_class

    out = out or data
    tables = read_tables(config_file)
    where = str(config_file) if config_file else "options"
    framing = override(tables["fbank"], {name: given.get(name) for name in (*FRAMING_HELP, "sample_rate")})
    table = vad_table(tables["vad"], given)
    config = build(vad_class(table), table, f"{where}: vad")
    fbank_config = build(FbankConfig, framing, f"{where}: fbank") if framing else None
    options = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="voice activity"), share)
    count = compute_vad(data, out, config, AudioOptions(channel, resample, allow_pipes), options, fbank_config)
    say_done(share, f"sv-compute-vad: decisions for {count} utterances in {out}/vad.scp")


def vad_table(table: Any, given: dict[str, Any]) -> Any:
    """The table [vad] with [vad.energy] and [vad.webrtc], options of the command line in their place."""
    if not isinstance(table, dict):
        return table
    frame_ms = given.get("frame_ms")
    given = {**given, "frame_ms": int(frame_ms) if frame_ms else None}
    nested = {
        kind: override(table.get(kind, {}), {name: given[name] for name in names})
        for kind, names in (("energy", ENERGY), ("webrtc", WEBRTC))
    }
    return {**override(table, {name: given[name] for name in COMMON}), **nested}
