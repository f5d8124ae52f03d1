"""Do the tables of a data directory belong together?  Each function compares two or three of them.

Keys of lines that could not be read count as present: the damaged line is one problem, not two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from sv_toolkit.data.forms import is_pipe
from sv_toolkit.errors import Problem, examples, plain, shown
from sv_toolkit.io.tables import Table, bounded, place

DROPS = "sv-fix-data drops them"
WHOLE = ("text", "utt2uniq", "cmvn.scp", "reco2dur")  # tables that Kaldi wants to be complete
SPED_UP = re.compile(r"^sp\d*\.\d+-|-sp\d*\.\d+$", re.ASCII)  # as sv-perturb-speed and Kaldi's scripts name copies


def wav_problems(wav: Table, allow_pipes: bool) -> list[Problem]:
    """Entries of wav.scp that are commands (unless allowed), or start with a tilde that nobody expands."""
    problems = []
    suspects = [(key, value) for key, value in wav.items() if value[-1] == "|" or value[0] in "|~"]
    for key, value in suspects:
        if is_pipe(value):
            if not allow_pipes:
                what = f"the audio of {plain(key, 80)} is a command (a pipe): {shown(value, 60)}"
                problems.append(Problem(wav.where(key), what, "--allow-pipes runs such commands; give it only for data that you trust"))
        else:
            problems.append(Problem(wav.where(key), f"the path starts with a tilde (~): {shown(value)}", "write the directory out"))
    return bounded(place(wav.path), problems)


def speed_problems(utt2spk: Table, wav: Table, utt2speed: Table | None) -> list[Problem]:
    """Utterances that sv-perturb-speed named after a speed, and that have none: read so, they would not be sped up.

    Audio that a command of wav.scp speeds up, as Kaldi's scripts do, is as it should be.
    """
    lost = [key for key in utt2spk if SPED_UP.search(key) and (utt2speed is None or key not in utt2speed) and not is_pipe(wav.get(key, ""))]
    if not lost:
        return []
    what = f"{len(lost)} utterances are named after a speed and have none in utt2speed: {examples(lost)}; they would be read at the speed of the recording"
    return [Problem(utt2spk.where(lost[0]), what, "copy utt2speed too (other programs leave it out), or rename them")]


def index_problems(table: Table) -> list[Problem]:
    """Entries of an archive index (feats.scp, vad.scp) that are commands; nobody ever runs these."""
    pipes = [(key, value) for key, value in table.items() if is_pipe(value)]
    what = "a command (a pipe) in an archive index is always refused"
    fix = "copy what it prints to an ark file"
    return bounded(place(table.path), [Problem(table.where(key), f"{what}: {shown(value, 60)}", fix) for key, value in pipes])


def recording_problems(utt2spk: Table, wav: Table, segments: Table | None) -> list[Problem]:
    """Utterances without audio or without a segment, segments without a recording, either without a speaker."""
    if segments is None:
        return missing_problems(wav, utt2spk, DROPS) + extra_problems(wav, utt2spk, DROPS)
    fix = "segments is primary: where it exists its ids are the utterances; sv-fix-data drops those it lacks"
    problems = missing_problems(segments, utt2spk, fix) + extra_problems(segments, utt2spk, DROPS)
    return problems + _lost_recordings(segments, wav)


def _lost_recordings(segments: Table, wav: Table) -> list[Problem]:
    lost = [key for key, value in segments.items() if value.split()[0] not in wav and value.split()[0] not in wav.damaged]
    if not lost:
        return []
    recording = plain(segments[lost[0]].split()[0], 80)
    what = f"{len(lost)} segments ({examples(lost)}) are of recordings that {place(wav.path)} lacks, the first of {recording}"
    return [Problem(segments.where(lost[0]), what, DROPS)]


def missing_problems(table: Table, against: Table, fix: str, allowed: Collection[str] = ()) -> list[Problem]:
    """Ids of the table `against` that `table` lacks, but for those that are `allowed` to be missing."""
    lost = sorted(key for key in against.keys() - table.keys() if key not in allowed and key not in table.damaged)
    what = f"{len(lost)} of the {len(against)} ids of {place(against.path)} are missing: {examples(lost)}"
    return [Problem(place(table.path), what, _twins(lost, table.keys() - against.keys()) or fix)] if lost else []


def extra_problems(table: Table, against: Table, fix: str) -> list[Problem]:
    """Ids of `table` that the table `against` does not know."""
    extra = sorted(table.keys() - against.keys() - against.damaged)
    what = f"{len(extra)} of {len(table)} ids are not in {place(against.path)}: {examples(extra)}"
    return [Problem(table.where(extra[0]), what, _twins(extra, against.keys() - table.keys()) or fix)] if extra else []


def _twins(ids: Collection[str], others: Collection[str]) -> str:
    """What to do where ids are not found only because another table writes them in another Unicode form; else nothing."""
    if all(map(str.isascii, ids)):
        return ""
    forms = {unicodedata.normalize("NFC", key): key for key in others if not key.isascii()}
    for key in ids:
        other = forms.get(unicodedata.normalize("NFC", key))
        if other is not None:
            alike = f"{ascii(key)[1:-1]} and {ascii(other)[1:-1]} are equal but for their Unicode form (NFC, NFD)"
            return f"{alike}: write all tables in one, for example with uconv -x nfc; do not drop them"
    return ""


def overlap_problems(where: str, ids: Collection[str], others: Collection[str], what: str, fix: str) -> list[Problem]:
    """Ids that ought not to be among the `others`; `what` says whose they are and where they are found."""
    both = sorted(set(ids) & set(others))
    return [Problem(where, f"{len(both)} of {len(ids)} {what}, too: {examples(both)}", fix)] if both else []


def match_problems(table: Table, utt2spk: Table, lost: Collection[str]) -> list[Problem]:
    """What an extracted table lacks of utt2spk (but for those that its command left out: `lost`) and what it has beyond it."""
    missing = "a job may have been lost: extract again; sv-fix-data drops these utterances"
    extra = "left over from an earlier run? extract again; sv-fix-data drops these lines"
    return missing_problems(table, utt2spk, missing, lost) + extra_problems(table, utt2spk, extra)


def spk2utt_problems(spk2utt: Table, utt2spk: Table) -> list[Problem]:
    """Where spk2utt says otherwise than utt2spk: another speaker, an utterance twice, too many or too few."""
    fix = "sv-fix-data writes spk2utt anew from utt2spk"
    problems, seen = [], set()
    for speaker, value in spk2utt.items():
        for utterance in value.split():
            true = utt2spk.get(utterance)
            if true != speaker and utterance not in utt2spk.damaged:
                says = f"says {plain(true, 80)}" if true is not None else "does not have it"
                what = f"utterance {plain(utterance, 80)} stands under speaker {plain(speaker, 80)}, {place(utt2spk.path)} {says}"
                problems.append(Problem(spk2utt.where(speaker), what, fix))
            if utterance in seen:
                problems.append(Problem(spk2utt.where(speaker), f"utterance {plain(utterance, 80)} stands twice", fix))
            seen.add(utterance)
    lost = sorted(key for key in utt2spk.keys() - seen if utt2spk[key] not in spk2utt.damaged)
    if lost:
        problems.append(Problem(place(spk2utt.path), f"{len(lost)} of the {len(utt2spk)} utterances are missing: {examples(lost)}", fix))
    return bounded(place(spk2utt.path), problems)


def prefix_problems(utt2spk: Table) -> list[Problem]:
    """Utterance ids that do not start with their speaker: sorting by speaker and by utterance then differ, and Kaldi mixes them up."""
    bad = [key for key, speaker in utt2spk.items() if not key.startswith(speaker)]
    if not bad:
        return []
    first = f"{plain(bad[0], 80)} is of speaker {plain(utt2spk[bad[0]], 80)}"
    what = f"{len(bad)} of {len(utt2spk)} utterance ids do not have their speaker's id as prefix: {first}"
    fix = "name utterances SPEAKER-UTTERANCE as Kaldi's programs expect, or accept it with --no-speaker-prefix (nothing here depends on it)"
    return [Problem(utt2spk.where(bad[0]), what, fix)]


def order_problems(utt2spk: Table) -> list[Problem]:
    """Speakers whose order is not that of their utterances, which Kaldi needs of ids that have them as prefix: a_1, a1_1 against a, a1."""
    previous = ""
    for key, speaker in utt2spk.items():
        if speaker < previous:
            what = (
                f"sorted by utterance, speaker {plain(speaker, 80)} of {plain(key, 80)} comes after {plain(previous, 80)}: Kaldi refuses it"
            )
            fix = "put a '-' after the speaker in ids, or accept it with --no-speaker-prefix (nothing here depends on it)"
            return [Problem(utt2spk.where(key), what, fix)]
        previous = speaker
    return []


def foreign_problems(table: Table, against: Collection[str], of: str) -> list[Problem]:
    """What Kaldi's validator refuses in a table that nothing here reads: ids beyond those `of` another table, or fewer."""
    extra, lost = sorted(table.keys() - set(against)), sorted(set(against) - table.keys() - table.damaged)
    problems = []
    if extra:
        what = f"{len(extra)} of {len(table)} ids are not in {of}: {examples(extra)}"
        problems.append(Problem(table.where(extra[0]), what, _twins(extra, lost) or DROPS))
    if lost and table.path.name in WHOLE:
        what = f"{len(lost)} of the {len(against)} ids of {of} are missing: {examples(lost)}"
        problems.append(Problem(place(table.path), what, _twins(lost, extra) or "Kaldi needs all of them: complete the table or delete it"))
    return problems
