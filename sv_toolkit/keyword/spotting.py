"""Keywords in a data directory: a data directory of the segments around them, and a table of the detections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sv_toolkit import __version__
from sv_toolkit.data.data_dir import DataDir, Utterance, invert
from sv_toolkit.data.digests import tables_digest
from sv_toolkit.data.skipped import write_skipped
from sv_toolkit.errors import AudioError, DataError, OutputError, SvError, plain
from sv_toolkit.extraction.pipeline import AUDIO_TABLES, AudioOptions, RunOptions, is_same
from sv_toolkit.io.audio import read_waveform
from sv_toolkit.io.manifest import read_manifest
from sv_toolkit.io.shards import refuse_too_many
from sv_toolkit.io.work import Work
from sv_toolkit.io.workers import available_cpus, run_tasks
from sv_toolkit.keyword.detector import Detection, Detector, detect

logger = logging.getLogger("sv_toolkit")
COMMAND, NAME = "sv-detect-keyword", "keywords"
DETECTIONS = "detections.tsv"
COLUMNS = ("segment", "utterance", "word", "confidence", "time", "start", "end", "duration")
BATCH = 32  # utterances that a process is given at a time
Found = list[Detection]
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class SpottingOptions:
    """Which detections count.

    Attributes:
        threshold: confidence from which on; None: the floor of the detector.
        best: one segment for each utterance, its most confident detection, under the utterance's own id.
        words: these alone; empty: all.
    """

    threshold: float | None = None
    best: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heard:
    """What was heard in one utterance of so many seconds: detections, or the reason why it could not be read."""

    utterance: Utterance
    duration: float
    found: Found
    reason: str = ""


def spot(detector: Detector, data: Path, out: Path, options: SpottingOptions, audio: AudioOptions, run: RunOptions) -> int:
    """Write the segments of all detections in `data` to the directory `out`; their number.

    Raises:
        DataError: the data directory is damaged, its audio is sped up, or a word is not one of the detector's.
        OutputError: `out` is in use, is `data`, or holds something else.
        TooManyBadError: more utterances than allowed cannot be read.
    """
    if is_same(data, out):
        raise OutputError(f"{plain(out)}: holds the recordings; segments need another output directory")
    if unknown := sorted(set(options.words) - set(detector.words)):
        raise DataError(f"the detector does not know the word {plain(unknown[0])}; it knows {', '.join(map(plain, detector.words))}")
    source = DataDir.read(data, allow_pipes=audio.allow_pipes)
    with Work(out, NAME, _job(detector, data, options, audio), overwrite=run.overwrite) as work:
        if work.is_done():
            manifest = read_manifest(out, NAME)
            return manifest.counts["segments"] if manifest is not None else 0
        _refuse_other(out, run.overwrite)
        work.begin()
        heard = _heard(detector, source.utterances(), audio, run)
        return _write(work, source, _chosen(detector, heard, options), heard)


def _job(detector: Detector, data: Path, options: SpottingOptions, audio: AudioOptions) -> dict[str, object]:
    return {
        "command": COMMAND,
        "version": __version__,
        "detector": detector.digest,
        "threshold": options.threshold,
        "best": options.best,
        "words": list(options.words),
        "audio": audio.job(),
        "data": tables_digest(data, AUDIO_TABLES),
    }


def _refuse_other(out: Path, overwrite: bool) -> None:
    """Never over a data directory that is not of this command."""
    for name in ("wav.scp", "utt2spk", DETECTIONS):
        if (out / name).exists() and not overwrite:
            raise OutputError(f"{plain(out / name)}: exists and is not of this run; give --overwrite, or another output directory")


def _heard(detector: Detector, utterances: list[Utterance], audio: AudioOptions, run: RunOptions) -> list[Heard]:
    """Detections in every utterance, in their order."""
    tasks = [utterances[start : start + BATCH] for start in range(0, len(utterances), BATCH)]
    results: list[Heard] = []
    unread: dict[str, str] = {}
    with run.progress(len(utterances)) as advance:
        for batch in run_tasks(partial(_listen, detector, audio), tasks, run.num_jobs or available_cpus(), _describe):
            results += batch
            unread |= _unread(batch)
            refuse_too_many(unread, len(utterances), run.max_bad)
            advance(len(batch))
    return sorted(results, key=lambda item: item.utterance.utterance_id.encode())


def _unread(heard: list[Heard]) -> dict[str, str]:
    """Why utterances could not be read, by id."""
    return {item.utterance.utterance_id: item.reason for item in heard if item.reason}


def _describe(task: list[Utterance]) -> str:
    return f"utterances {task[0].utterance_id} to {task[-1].utterance_id}"


def _listen(detector: Detector, audio: AudioOptions, utterances: list[Utterance]) -> list[Heard]:
    return [_heard_in(detector, audio, utterance) for utterance in utterances]


def _heard_in(detector: Detector, audio: AudioOptions, utterance: Utterance) -> Heard:
    rate = detector.config.fbank.sample_rate
    if utterance.speed != 1:
        raise DataError(
            f"{plain(utterance.utterance_id)}: is sped up (utt2speed), and its segments would be of other times than its recording"
        )
    try:
        samples = read_waveform(audio.request(utterance, rate)).samples
    except AudioError as error:
        return Heard(utterance, 0.0, [], str(error))
    return Heard(utterance, len(samples) / rate, detect(detector, samples))


def _chosen(detector: Detector, heard: list[Heard], options: SpottingOptions) -> Iterator[tuple[str, Heard, Detection]]:
    """Segment ids with the detections that count."""
    threshold = detector.config.detector.floor if options.threshold is None else options.threshold
    for item in heard:
        found = [one for one in item.found if one.confidence >= threshold and (not options.words or one.word in options.words)]
        if options.best and found:
            yield item.utterance.utterance_id, item, max(found, key=lambda one: one.confidence)
        elif not options.best:
            for one in found:
                yield f"{item.utterance.utterance_id}-{'_'.join(one.word.split())}-{round(1000 * one.time):09d}", item, one


def _write(work: Work, source: DataDir, chosen: Iterator[tuple[str, Heard, Detection]], heard: list[Heard]) -> int:
    segments, utt2spk, words, rows = {}, {}, {}, []
    for key, item, one in chosen:
        utterance, offset = item.utterance, item.utterance.start or 0.0
        segments[key] = f"{utterance.recording_id} {offset + one.start:.3f} {offset + one.end:.3f}"
        utt2spk[key] = utterance.speaker_id
        words[key] = "_".join(one.word.split())
        times = (one.time, one.start, one.end, item.duration)
        rows.append("\t".join([key, utterance.utterance_id, one.word, f"{one.confidence:.6f}", *(f"{value:.3f}" for value in times)]))
    tables: Mapping[str, Mapping[str, str]] = {"segments": segments, "utt2spk": utt2spk, "utt2keyword": words}
    recordings = {value.split()[0] for value in segments.values()}
    for name, table in {**tables, "wav.scp": source.wav, "reco2file_and_channel": source.table("reco2file_and_channel")}.items():
        if table:
            is_by_recording = name in ("wav.scp", "reco2file_and_channel")
            work.table(name, {key: value for key, value in table.items() if not is_by_recording or key in recordings})
    if utt2spk:
        work.table("spk2utt", {key: " ".join(value) for key, value in invert(utt2spk).items()})
    else:
        logger.warning("%s: nothing was detected; there is a table of detections without a line, and no data directory", plain(work.out))
    work.text(DETECTIONS, "\n".join(["\t".join(COLUMNS), *rows]) + "\n")
    unread = _unread(heard)
    write_skipped(work.out, COMMAND, unread)
    milliseconds = round(1000 * sum(item.duration for item in heard))
    work.finish({"segments": len(segments), "utterances": len(heard), "skipped": len(unread), "milliseconds": milliseconds})
    return len(segments)


@dataclass(frozen=True)
class Row:
    """A line of the table of detections; seconds within the utterance, whose length is `duration`."""

    segment: str
    utterance: str
    word: str
    confidence: float
    time: float
    start: float
    end: float
    duration: float


def seconds_heard(folder: Path) -> float:
    """Length of all recordings that the detections in the folder were looked for in.

    Raises:
        DataError: the folder is not one of detections.
    """
    manifest = read_manifest(folder, NAME)
    if manifest is None or "milliseconds" not in manifest.counts:
        raise DataError(f"{plain(folder)}: holds no finished detections; sv-detect-keyword makes them")
    return manifest.counts["milliseconds"] / 1000


def read_detections(folder: Path) -> list[Row]:
    """The table of detections in the folder.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / DETECTIONS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DataError(f"{plain(path)}: cannot be read; sv-detect-keyword makes it") from None
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise DataError(f"{plain(path)}:1: is not the head of a table of detections; run sv-detect-keyword --overwrite again")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            segment, utterance, word, *numbers = line.split("\t")
            confidence, time, start, end, duration = map(float, numbers)
        except ValueError:
            raise SvError(
                f"{plain(path)}:{number}: needs {len(COLUMNS)} fields, numbers from the fourth on, got {plain(line, 200)}"
            ) from None
        rows.append(Row(segment, utterance, word, confidence, time, start, end, duration))
    return rows
