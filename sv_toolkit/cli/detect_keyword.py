"""sv-detect-keyword: where a keyword is said, in recordings or live."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FiniteRange,
    Progress,
    SvCommand,
    allow_pipes_option,
    max_bad_option,
    nj_option,
    overwrite_option,
    refuse_given,
)
from sv_toolkit.cli.decision_options import print_moment
from sv_toolkit.cli.feature_options import channel_option, prepare_process, resample_option

if TYPE_CHECKING:
    from io import BufferedReader

    from sv_toolkit.keyword.detector import Detector


@click.command(cls=SvCommand)
@click.argument("detector", type=DIRECTORY)
@click.argument("data", type=DIRECTORY, required=False)
@click.argument("out", type=DIRECTORY, required=False)
@click.option("--threshold", type=FiniteRange(0, 1), help="Confidence from which on a detection counts.  [default: the detector's floor]")
@click.option("--word", "words", multiple=True, help="Only this word; may be given again.  [default: all]")
@click.option("--best", is_flag=True, help="One segment for each utterance, its most confident detection, under the utterance's id.")
@click.option("--stream", is_flag=True, help="The sound comes from stdin: WAV or raw 16-bit samples, little-endian, one channel.")
@click.option("--rate", type=click.IntRange(1000, 768_000), help="--stream: hertz of raw samples.  [default: the detector's]")
@click.option("--json", "as_json", is_flag=True, help="--stream: a JSON object for each detection.")
@channel_option
@resample_option
@nj_option
@max_bad_option
@overwrite_option
@allow_pipes_option
def command(
    detector: Path,
    data: Path | None,
    out: Path | None,
    threshold: float | None,
    words: tuple[str, ...],
    best: bool,
    stream: bool,
    rate: int | None,
    as_json: bool,
    channel: int | None,
    resample: bool,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    allow_pipes: bool,
) -> None:
    """Find the keywords of DETECTOR in the recordings of DATA; OUT becomes a data directory of a segment for each.

    OUT/detections.tsv holds confidence and times.  The segments, 800 ms unless the detector says otherwise, go on to
    sv-extract-fbank and sv-extract-dvector.  With --stream detections are printed as soon as they are certain, and they are
    those of a file of the same sound.

    \b
    Example:
        sv-detect-keyword exp/keyword data/test data/test_segments --threshold 0.6
        arecord -q -f S16_LE -r 16000 | sv-detect-keyword exp/keyword --stream
    """
    _check_usage(data, out, stream)
    prepare_process()
    from sv_toolkit.keyword.detector import load_detector

    known, words = load_detector(detector), tuple(word.lower() for word in words)
    if stream:
        _listen(known, threshold, words, rate, channel, resample, as_json)
        return
    from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
    from sv_toolkit.keyword.spotting import SpottingOptions, spot

    run = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="utterances"))
    assert data is not None
    assert out is not None
    count = spot(known, data, out, SpottingOptions(threshold, best, words), AudioOptions(channel, resample, allow_pipes), run)
    click.echo(f"sv-detect-keyword: {count} segments in {out}; next: sv-extract-dvector MODEL {out} OUT", err=True)


def _check_usage(data: Path | None, out: Path | None, stream: bool) -> None:
    if stream:
        if data is not None:
            raise click.UsageError("--stream takes the sound from stdin, no DATA")
        refuse_given("belongs to a data directory, not to --stream", "best", "num_jobs", "max_bad", "overwrite", "allow_pipes")
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("Missing sound on stdin: --stream is the end of a pipe, as of arecord -f S16_LE")
        return
    refuse_given("belongs to --stream", "rate", "as_json")
    if out is None:
        raise click.UsageError(f"Missing argument '{'DATA' if data is None else 'OUT'}'")


def _listen(
    detector: Detector,
    threshold: float | None,
    words: tuple[str, ...],
    rate: int | None,
    channel: int | None,
    resample: bool,
    as_json: bool,
) -> None:
    from sv_toolkit.errors import AudioError
    from sv_toolkit.io.pcm import PcmStream, resampled
    from sv_toolkit.keyword.detector import follow

    own = detector.config.fbank.sample_rate
    stdin = cast("BufferedReader", sys.stdin.buffer)
    sound = PcmStream(stdin.read1, rate or own, channel)
    if sound.sample_rate < own and not resample:
        raise AudioError(f"stdin: {sound.sample_rate} Hz, the detector needs {own} Hz; --resample converts, but high bands stay empty")
    count, least = 0, detector.config.detector.floor if threshold is None else threshold
    for found in follow(detector, resampled(sound.blocks(), sound.sample_rate, own)):
        if found.confidence >= least and (not words or found.word in words):
            count += 1
            record: dict[str, Any] = {"word": found.word, "confidence": found.confidence, "time": found.time}
            print_moment({**record, "start": found.start, "end": found.end}, as_json)
            sys.stdout.flush()
    click.echo(f"sv-detect-keyword: {count} detections", err=True)
