"""Options by Kaldi's names that the feature commands share; not a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
    Progress,
    SvCommand,
    allow_pipes_option,
    max_bad_option,
    nj_option,
    overwrite_option,
    resume_option,
    say_done,
    seed_option,
    share_options,
)
from sv_toolkit.features.registry import FEATURES

if TYPE_CHECKING:
    from sv_toolkit.io.parts import Share

LARGE_BLOCK = 1 << 25  # bytes; eight minutes of sound: longer ones go back to the system at once
WINDOWS = ("povey", "hamming", "hanning", "rectangular", "sine", "blackman")
MILLISECONDS = ("frame_length", "frame_shift")  # as in Kaldi; seconds everywhere else

# Names of FbankConfig's fields, with what --help says; the default is that of the field, or of the configuration file.
FBANK_HELP: dict[str, tuple[Any, str]] = {
    "frame_length": (float, "Length of a frame, milliseconds.  [25]"),
    "frame_shift": (float, "From frame to frame, milliseconds.  [10]"),
    "num_mel_bins": (int, "Filters.  [40]"),
    "low_freq": (float, "Lower edge of the first filter, hertz.  [20]"),
    "high_freq": (float, "Upper edge of the last filter, hertz; <= 0: below half the sample rate.  [0]"),
    "preemphasis_coefficient": (float, "Preemphasis.  [0.97]"),
    "window_type": (click.Choice(WINDOWS), "Window.  [povey]"),
    "blackman_coeff": (float, "Constant of the blackman window.  [0.42]"),
    "dither": (float, "Noise, in units of 16-bit samples; repeatable, see --seed.  [0]"),
    "remove_dc_offset": (bool, "Subtract the mean of each frame.  [yes]"),
    "round_to_power_of_two": (bool, "Pad the transform to a power of two.  [yes]"),
    "snip_edges": (bool, "Only frames that lie inside the recording.  [yes]"),
    "use_energy": (bool, "One more column: the log energy.  [no]"),
    "raw_energy": (bool, "Energy before preemphasis and window.  [yes]"),
    "energy_floor": (float, "Lower bound of the energy.  [0]"),
    "htk_compat": (bool, "The energy is the last column.  [no]"),
    "use_log_fbank": (bool, "Logarithm of the filters' output.  [yes]"),
    "use_power": (bool, "Power spectrum; otherwise magnitudes.  [yes]"),
    "vtln_warp": (float, "Stretch the frequency axis by this factor.  [1]"),
    "vtln_low": (float, "Lower bend of the stretch, hertz.  [100]"),
    "vtln_high": (float, "Upper bend, hertz; <= 0: below half the sample rate.  [-500]"),
}
# The same for MfccConfig: other defaults, and the logarithm is no choice.
MFCC_HELP: dict[str, tuple[Any, str]] = {
    **{name: entry for name, entry in FBANK_HELP.items() if name != "use_log_fbank"},
    "num_mel_bins": (int, "Filters.  [23]"),
    "use_energy": (bool, "The log energy in place of the zeroth coefficient.  [yes]"),
    "num_ceps": (int, "Coefficients, the zeroth among them.  [13]"),
    "cepstral_lifter": (float, "Scaling of the coefficients; 0: none.  [22]"),
}
FRAMING_HELP = {name: FBANK_HELP[name] for name in ("frame_length", "frame_shift", "snip_edges")}


class KaldiCommand(SvCommand):
    """Takes `--snip-edges=false`, as Kaldi's programs do, for `--no-snip-edges`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite the boolean options, then parse as usual."""
        booleans = {name for param in self.params if isinstance(param, click.Option) and param.secondary_opts for name in param.opts}
        return super().parse_args(ctx, [_plain_flag(arg, booleans) for arg in args])


def _plain_flag(arg: str, booleans: set[str]) -> str:
    name, equals, value = arg.partition("=")
    if not equals or name not in booleans:
        return arg
    if value not in ("true", "false"):
        raise click.UsageError(f"{name} takes true or false, got {value!r}")
    return name if value == "true" else f"--no-{name.removeprefix('--')}"


def fbank_options(table: dict[str, tuple[Any, str]]) -> Callable[[Any], Any]:
    """A decorator that adds one option for each field in `table`, and the sample rate."""

    def decorate(function: Any) -> Any:
        for name, (kind, text) in reversed(table.items()):
            option = "--" + name.replace("_", "-")
            names = f"{option}/--no-{option[2:]}" if kind is bool else option
            function = click.option(names, name, type=None if kind is bool else kind, default=None, help=text)(function)
        rate = click.option("--sample-rate", "--sample-frequency", "sample_rate", type=int, default=None, help="Hertz.  [16000]")
        return rate(function)

    return decorate


config_option = click.option(
    "--config", "config_file", type=FILE, help="TOML or JSON with tables [fbank], [mfcc] and [vad]; options on the command line win."
)
channel_option = click.option(
    "--channel", type=click.IntRange(min=0), default=None, help="Channel to read, from 0, where reco2file_and_channel does not say."
)
resample_option = click.option("--resample", is_flag=True, help="Convert recordings of another sample rate; without it they are an error.")


def prepare_process() -> None:
    """Linear algebra on one thread, and freed memory kept; call it before numpy is imported.

    There is one process for each processor already: threads on top of them make everything slower.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    from sv_toolkit.io.memory import keep_freed_memory

    keep_freed_memory(LARGE_BLOCK)


def read_tables(config_file: Path | None) -> dict[str, dict[str, Any]]:
    """The tables [fbank], [mfcc], ... and [vad] of the configuration file, empty where it has none.

    Raises:
        ConfigError: the file holds other tables.
    """
    from sv_toolkit.config import nearest, read_config
    from sv_toolkit.errors import ConfigError, plain, shown

    known = (*FEATURES, "vad")
    tables = read_config(config_file) if config_file is not None else {}
    for name in tables:
        if name not in known:
            raise ConfigError(f"{plain(config_file)}: unknown table {shown(name)}{nearest(name, known)}")
    return {name: tables.get(name, {}) for name in known}


def override(table: Any, given: dict[str, Any], in_seconds: bool = False) -> Any:
    """The table of a configuration file with what the command line gives in its place, in milliseconds unless `in_seconds`."""
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in () if in_seconds else MILLISECONDS:
        if name in chosen:
            chosen[name] = chosen[name] / 1000
    return {**table, **chosen} if isinstance(table, dict) else table


def extraction_options(own: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator with the arguments and options of a command that makes features; `own` adds those of the features."""
    decorators = [
        click.argument("data", type=DIRECTORY),
        click.argument("out", type=DIRECTORY, required=False),
        config_option,
        own,
        channel_option,
        resample_option,
        seed_option,
        nj_option,
        max_bad_option,
        overwrite_option,
        resume_option,
        allow_pipes_option,
        share_options,
    ]

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def run_extraction(
    name: str,
    *,
    data: Path,
    out: Path | None,
    config_file: Path | None,
    channel: int | None,
    resample: bool,
    seed: int,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    allow_pipes: bool,
    share: Share,
    in_seconds: bool = False,
    **given: Any,
) -> None:
    """What such a command does; `name` is that of `FEATURES`, and of its table in the configuration file."""
    from sv_toolkit.config import build
    from sv_toolkit.extraction.fbank import extract_features
    from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions

    out = out or data
    where = f"{config_file}: {name}" if config_file else "options"
    config = build(FEATURES[name].config, override(read_tables(config_file)[name], given, in_seconds), where)
    options = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="features"), share)
    count = extract_features(name, data, out, config, AudioOptions(channel, resample, allow_pipes), options, seed)
    say_done(share, f"{FEATURES[name].command}: {count} matrices of {config.dim} columns in {out}/feats.scp")
