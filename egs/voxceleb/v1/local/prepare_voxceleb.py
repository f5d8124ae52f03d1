#!/usr/bin/env python3
"""Make data directories of VoxCeleb1 and VoxCeleb2; `--help` shows how."""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError, examples, shown

if TYPE_CHECKING:
    from sv_toolkit.data.trials import Trials

# Where SPEAKER/VIDEO/NUMBER.wav begins in the folder that the user names: as the archives unpack, and as people sort them.
PLACES = {
    "vox1": (
        *("", "wav", "dev", "dev/wav", "test", "test/wav"),
        *(f"vox1_{part}_wav{end}" for part in ("dev", "test") for end in ("", "/wav")),
    ),
    "vox2": ("", "wav", "aac", "dev", "dev/wav", "dev/aac", "vox2_dev_wav", "vox2_dev_wav/wav", "vox2_dev_aac", "vox2_dev_aac/dev/aac"),
}
SPEAKER = {"vox1": re.compile(r"id1[01]\d{3}"), "vox2": re.compile(r"id0\d{4}")}
OFFICIAL = {"vox1": (1251, 153_516), "vox2": (5994, 1_092_009)}  # speakers and utterances: VoxCeleb1 all, VoxCeleb2 dev
NUM_TRIALS = {
    "veri_test": 37_720,
    "veri_test2": 37_611,
    "list_test_all": 581_480,
    "list_test_all2": 579_818,
    "list_test_hard": 552_536,
    "list_test_hard2": 550_894,
}
TRAIN = {"vox1": ["vox1"], "vox2": ["vox2"], "both": ["vox1", "vox2"]}  # speakers are held out of the first
TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10_270, 10_310))  # the 40 of VoxCeleb1 whose names start with E
SUFFIXES = (".wav", ".flac", ".m4a")
# In the release: VIDEO/NUMBER.wav; in the first release of VoxCeleb1, whose folders bear names: VIDEO_NUMBER.wav.
FILE = re.compile(r"(?P<video>[\w-]{11})[/_](?P<number>\d{5}|\d{7})\.(wav|flac|m4a)")
CONVERT = """find {} -name '*.m4a' -exec sh -c 'ffmpeg -nostdin -i "$1" -ac 1 -ar 16000 "${{1%.m4a}}.flac"' sh {{}} ';'"""


class Utterance(NamedTuple):
    """One recording: who, in which video, and the number in it."""

    speaker: str
    video: str
    number: str
    file: Path

    @property
    def utterance_id(self) -> str:
        return f"{self.speaker}-{self.video}-{self.number}"

    @property
    def session(self) -> str:
        return f"{self.speaker}-{self.video}"


class Person(NamedTuple):
    """What the metadata say of a speaker."""

    name: str
    gender: str


def read_metadata(folders: Iterable[Path], corpus: str) -> dict[str, Person]:
    """Speaker -> name and gender, of vox1_meta.csv or vox2_meta.csv; empty where no folder has the file."""
    path = next((folder / f"{corpus}_meta.csv" for folder in folders if (folder / f"{corpus}_meta.csv").is_file()), None)
    if path is None:
        return {}
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")]
    wanted = [f"VoxCeleb{corpus[-1]} ID", f"VGGFace{corpus[-1]} ID", "Gender"]
    if not rows or not set(wanted) <= set(rows[0]):
        raise DataError(f"{path}:1: the columns {', '.join(wanted)} are needed, as the release has them")
    people = {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}:{line}: {len(rows[0])} columns are needed, got {len(row)}")
        speaker, name, gender = (row[rows[0].index(column)] for column in wanted)
        if gender not in ("m", "f"):
            raise DataError(f"{path}:{line}: the gender must be m or f, got {shown(gender)}")
        people[speaker] = Person(name, gender)
    return people


def parse(speaker: str, rest: str, file: Path, ids: Mapping[str, str], corpus: str) -> Utterance | None:
    """The utterance at SPEAKER/REST; None where that is no recording of `corpus`. `ids` maps real names to speakers."""
    speaker = ids.get(speaker, speaker)
    match = FILE.fullmatch(rest)
    return Utterance(speaker, match["video"], match["number"], file) if match and SPEAKER[corpus].fullmatch(speaker) else None


def find_utterances(root: Path, corpus: str, people: Mapping[str, Person], any_size: bool) -> dict[str, Utterance]:
    """Utterance id -> utterance, of every folder in `PLACES` that is there."""
    ids = {person.name: speaker for speaker, person in people.items()}
    found: dict[str, Utterance] = {}
    compressed: set[str] = set()
    for folder in [root / name for name in PLACES[corpus]]:
        for file in sorted(file for depth in ("*/*", "*/*/*") for file in folder.glob(depth) if file.suffix in SUFFIXES):
            speaker, rest = file.relative_to(folder).as_posix().split("/", 1)
            utterance = parse(speaker, rest, file, ids, corpus)
            if utterance is None:
                continue
            if file.suffix == ".m4a":
                compressed.add(utterance.utterance_id)
                continue
            other = found.setdefault(utterance.utterance_id, utterance)
            if other.file != file:
                raise DataError(f"{file}: the same recording as {other.file}; keep one of them")
    lost = sorted(compressed - found.keys())
    if lost:
        raise DataError(f"{root}: {len(lost)} recordings are there as .m4a only: {examples(lost)}; convert them: {CONVERT.format(root)}")
    _refuse_other_size(root, corpus, found, any_size)
    return found


def _refuse_other_size(root: Path, corpus: str, found: Mapping[str, Utterance], any_size: bool) -> None:
    size = (len({utterance.speaker for utterance in found.values()}), len(found))
    if size != OFFICIAL[corpus] and not (any_size and found):
        wanted = "{} speakers and {} utterances".format(*OFFICIAL[corpus])
        raise DataError(
            f"{root}: {corpus} has {wanted}, found {size[0]} and {size[1]} at SPEAKER/VIDEO/NUMBER.wav below it or below its "
            f"{', '.join(PLACES[corpus][1:4])}, ...; --any-size true takes what is there"
        )


def read_list(folder: Path, name: str, ids: Mapping[str, str], any_size: bool) -> Trials:
    """An official trial list, with lines `1 SPEAKER/VIDEO/NUMBER.wav SPEAKER/VIDEO/NUMBER.wav`, as a list of utterance ids."""
    from sv_toolkit.data.trials import make, read_trials

    listed = read_trials(folder / f"{name}.txt", "voxceleb", need_keys=True, unique=False)
    if not any_size and len(listed) != NUM_TRIALS.get(name, len(listed)):
        raise DataError(f"{listed.path}: the official list has {NUM_TRIALS[name]} trials, found {len(listed)}; --any-size true takes them")

    def keys(paths: list[str]) -> list[str]:
        parsed = [parse(*path.split("/", 1), Path(path), ids, "vox1") if "/" in path else None for path in paths]
        wrong = [path for path, utterance in zip(paths, parsed) if utterance is None]
        if wrong:
            raise DataError(f"{listed.path}: {shown(wrong[0])} is not SPEAKER/VIDEO/NUMBER.wav of VoxCeleb1")
        return [utterance.utterance_id for utterance in parsed if utterance]

    enroll, test = keys(listed.enroll_ids), keys(listed.test_ids)
    labels: dict[tuple[str, str], bool] = {}
    for i, j, label in zip(listed.enroll_index.tolist(), listed.test_index.tolist(), listed.is_target.tolist()):  # type: ignore[union-attr]
        if labels.setdefault((enroll[i], test[j]), label) != label:
            raise DataError(f"{listed.path}: the pair {enroll[i]} {test[j]} stands there with both labels")
    if len(labels) < len(listed):
        logging.getLogger("sv_toolkit").warning("%s: %d lines repeat a pair and are left out", name, len(listed) - len(labels))
    return make(sorted(labels), [labels[pair] for pair in sorted(labels)], listed.path)


def hold_out(speakers: set[str], people: Mapping[str, Person], num_dev: int) -> set[str]:
    """The development speakers: the first by SHA-256 of the id, of those whose names start with B, as in Heo et al. 2019.

    Where no names are known, as in VoxCeleb2, the first of all.
    """
    names = {speaker: people[speaker].name for speaker in speakers if speaker in people}
    with_b = [speaker for speaker, name in names.items() if name.startswith("B")]
    dev = set(sorted(with_b or speakers, key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())[:num_dev])
    if len(dev) < 2 or len(speakers - dev) < 2:
        raise DataError(
            f"of {len(speakers)} speakers {len(dev)} would be held out: two are needed, and two to train with; choose --num-dev"
        )
    return dev


def write_set(
    data: Path, name: str, chosen: list[Utterance], people: Mapping[str, Person], lists: Mapping[str, Trials], overwrite: bool
) -> None:
    """One data directory, with the trial lists that belong to it."""
    from sv_toolkit.data.output import as_texts, say, write_output
    from sv_toolkit.data.trials import trials_bytes

    speakers = {utterance.speaker for utterance in chosen}
    tables = {
        "wav.scp": {utterance.utterance_id: str(utterance.file) for utterance in chosen},
        "utt2spk": {utterance.utterance_id: utterance.speaker for utterance in chosen},
        "utt2session": {utterance.utterance_id: utterance.session for utterance in chosen},
    }
    if speakers <= people.keys():
        tables["spk2gender"] = {speaker: people[speaker].gender for speaker in speakers}
    else:
        logging.getLogger("sv_toolkit").warning("%s: no metadata of %s: no spk2gender", name, examples(sorted(speakers - people.keys())))
    texts = as_texts(tables) | {f"trials_{key}": trials_bytes(trials).decode() for key, trials in lists.items()}
    counts = {"utterances": len(chosen), "speakers": len(speakers)}
    written = write_output(data / name, texts, {"command": "prepare_voxceleb", "set": name}, counts, overwrite)
    say(written, data / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


def tested(lists: Mapping[str, Trials], vox1: Mapping[str, Utterance], training: set[str]) -> list[Utterance]:
    """The utterances that the lists need; none of a training speaker."""
    for name, trials in lists.items():
        needed = sorted({*trials.enroll_ids, *trials.test_ids})
        lost = [key for key in needed if key not in vox1]
        if lost:
            raise DataError(f"{trials.path}: {len(lost)} recordings of the list are not in --vox1: {examples(lost)}")
        shared = sorted({vox1[key].speaker for key in needed} & training)
        if shared:
            raise DataError(
                f"{name}: {len(shared)} speakers of the list are trained with ({examples(shared)}); the lists list_test_* "
                "hold speakers of VoxCeleb1's dev part: train on VoxCeleb2 alone (--train vox2), or leave these lists out"
            )
    return [vox1[key] for key in sorted({key for trials in lists.values() for key in [*trials.enroll_ids, *trials.test_ids]})]


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--vox1", "vox1_root", type=DIRECTORY, required=True, help="VoxCeleb1, dev and test: SPEAKER/VIDEO/NUMBER.wav.")
@click.option("--vox2", "vox2_root", type=DIRECTORY, help="The dev part of VoxCeleb2, converted to .wav or .flac.")
@click.option("--lists-dir", type=DIRECTORY, required=True, help="Folder of the trial lists (.txt) and of vox1_meta.csv, vox2_meta.csv.")
@click.option("--lists", "list_names", default="veri_test2 veri_test", show_default=True, help="Names of the trial lists to test with.")
@click.option("--train", type=click.Choice(list(TRAIN)), default="vox1", show_default=True, help="What to train with.")
@click.option("--num-dev", type=click.IntRange(min=2), default=40, show_default=True, help="Training speakers held out for development.")
@click.option("--any-size", type=bool, default=False, show_default=True, help="Accept corpora and lists of other sizes than the official.")
@overwrite_option
def command(
    data: Path,
    vox1_root: Path,
    vox2_root: Path | None,
    lists_dir: Path,
    list_names: str,
    train: str,
    num_dev: int,
    any_size: bool,
    overwrite: bool,
) -> None:
    """Make the data directories DATA/{train,dev,test} of VoxCeleb; the session of an utterance is its video.

    \b
    Example:
        local/prepare_voxceleb.py --vox1 /corpora/voxceleb1 --lists-dir data/download/lists data
    """
    if train != "vox1" and vox2_root is None:
        raise click.UsageError(f"--train {train} needs --vox2 DIR")
    roots = {"vox1": vox1_root.resolve()} | ({"vox2": vox2_root.resolve()} if vox2_root and train != "vox1" else {})
    people = {corpus: read_metadata([lists_dir, root, root.parent], corpus) for corpus, root in roots.items()}
    found = {corpus: find_utterances(root, corpus, people[corpus], any_size) for corpus, root in roots.items()}
    ids = {person.name: speaker for speaker, person in people["vox1"].items()}
    lists = {name: read_list(lists_dir, name, ids, any_size) for name in list_names.split()}
    usable = [u for corpus in TRAIN[train] for u in found[corpus].values() if u.speaker not in TEST_SPEAKERS]
    held_from = TRAIN[train][0]
    dev = hold_out({utterance.speaker for utterance in found[held_from].values()} - TEST_SPEAKERS, people[held_from], num_dev)
    everybody = {speaker: person for known in people.values() for speaker, person in known.items()}
    test = tested(lists, found["vox1"], {utterance.speaker for utterance in usable})
    write_set(data, "train", [u for u in usable if u.speaker not in dev], everybody, {}, overwrite)
    write_set(data, "dev", [u for u in usable if u.speaker in dev], everybody, {}, overwrite)
    write_set(data, "test", test, everybody, lists, overwrite)


if __name__ == "__main__":
    command()
