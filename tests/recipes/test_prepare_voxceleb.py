"""egs/voxceleb: miniature trees of the real layouts; the official split; lists and names; the recipe from end to end."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.trials import read_trials
from sv_toolkit.data.validation import validate

ROOT = Path(__file__).resolve().parents[2]
PREPARE = ROOT / "egs/voxceleb/v1/local/prepare_voxceleb.py"
NAMES = {
    "id10001": "A.J._Buckley",
    "id10045": "Barbra_Streisand",
    "id10050": "Ben_Kingsley",
    "id10060": "Bob_Barker",
    "id10200": "Dan_Aykroyd",
    "id10270": "Eartha_Kitt",
    "id10271": "Ed_Westwick",
}
VIDEOS = ("5r0dWxy17C8", "-GbeNdjBdLk")  # real ids may start with a dash
VOX2 = ("id00012", "id00015", "id00016", "id09272")
LIST = """1 id10270/5r0dWxy17C8/00001.wav id10270/-GbeNdjBdLk/00002.wav
0 id10270/5r0dWxy17C8/00001.wav id10271/5r0dWxy17C8/00001.wav
1 id10271/-GbeNdjBdLk/00001.wav id10271/5r0dWxy17C8/00002.wav
0 id10271/5r0dWxy17C8/00002.wav id10270/-GbeNdjBdLk/00002.wav
"""


def write_audio(path, seed=0, seconds=0.1, pitch=120.0):
    """A voice of sorts: pulses at a pitch, through a little noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    times = np.arange(int(16_000 * seconds)) / 16_000
    harmonics = sum(np.cos(2 * np.pi * pitch * k * times) / k for k in range(1, 9))
    soundfile.write(path, 0.1 * harmonics * (np.sin(5 * times) > -0.5) + 0.002 * rng.normal(size=len(times)), 16_000)


def write_speaker(folder, speaker, suffix=".wav", **options):
    for video in VIDEOS:
        for number in ("00001", "00002"):
            write_audio(folder / speaker / video / (number + suffix), **options)


def write_lists(folder):
    folder.mkdir(exist_ok=True)
    (folder / "veri_test2.txt").write_text(LIST)
    (folder / "list_test_hard2.txt").write_text("0 id10001/5r0dWxy17C8/00001.wav id10270/5r0dWxy17C8/00001.wav\n" + LIST)
    rows = [f"{speaker}\t{name}\t{'mf'[number % 2]}\tUSA\tdev" for number, (speaker, name) in enumerate(NAMES.items())]
    (folder / "vox1_meta.csv").write_text("\n".join(["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", *rows]) + "\n")
    rows = [f"{speaker} ,n{number:06d} ,f ,dev" for number, speaker in enumerate(VOX2)]
    (folder / "vox2_meta.csv").write_text("\n".join(["\ufeffVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set", *rows]) + "\n")


@pytest.fixture(params=["dev/wav test/wav", "vox1_dev_wav/wav vox1_test_wav/wav", "wav wav", ". ."])
def layout(request):
    return request.param.split()


def write_vox1(root, dev="dev/wav", test="test/wav", **options):
    for number, speaker in enumerate(NAMES):
        write_speaker(root / (test if speaker in ("id10270", "id10271") else dev), speaker, pitch=90.0 + 30 * number, **options)


@pytest.fixture
def vox(tmp_path):
    """VoxCeleb1 in its usual place, with lists."""
    write_vox1(tmp_path / "vox 1")
    write_lists(tmp_path / "lists")
    return tmp_path


def prepare(run, *options, data="data", lists="veri_test2"):
    words = ("--vox1", "vox 1", "--lists-dir", "lists", "--lists", lists, "--num-dev", "2", "--any-size", "true")
    return run(PREPARE, *words, *options, data)


def read_sets(tmp_path, data="data"):
    return {name: DataDir.read(tmp_path / data / name) for name in ("train", "dev", "test")}


def hashed(names):
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def test_the_split_is_official_in_every_layout(run, tmp_path, layout):
    write_vox1(tmp_path / "vox 1", *layout)
    write_lists(tmp_path / "lists")
    result = prepare(run)
    assert result.returncode == 0, result.stderr
    sets = read_sets(tmp_path)
    held_out = set(hashed(["id10045", "id10050", "id10060"])[:2])
    assert set(sets["dev"].spk2utt) == held_out  # names with B
    assert set(sets["train"].spk2utt) == {"id10001", "id10045", "id10050", "id10060", "id10200"} - held_out
    assert set(sets["test"].spk2utt) == {"id10270", "id10271"}  # names with E
    for name in sets:
        assert validate(tmp_path / "data" / name, read_data=True) == []


def test_an_utterance_is_named_by_its_place_and_its_session_is_the_video(run, vox):
    assert prepare(run).returncode == 0
    data = DataDir.read(vox / "data/train")
    key = "id10200--GbeNdjBdLk-00002"
    assert data.utt2spk[key] == "id10200"
    assert data.table("utt2session")[key] == "id10200--GbeNdjBdLk"
    assert data.table("spk2gender")["id10200"] == "m"
    assert data.table("wav.scp")[key] == str(vox / "vox 1/dev/wav/id10200/-GbeNdjBdLk/00002.wav")


def test_the_official_list_is_kept_pair_by_pair(run, vox):
    assert prepare(run).returncode == 0
    trials = read_trials(vox / "data/test/trials_veri_test2")
    found = {trials.pair(i): bool(label) for i, label in enumerate(trials.is_target)}
    expected = {}
    for line in LIST.splitlines():
        label, *paths = line.split()
        expected[" ".join(path.removesuffix(".wav").replace("/", "-") for path in paths)] = label == "1"
    assert found == expected
    assert set(DataDir.read(vox / "data/test").utt2spk) == {*trials.enroll_ids, *trials.test_ids}


def test_training_on_the_second_corpus_allows_the_list_with_speakers_of_the_first(run, vox):
    for speaker in VOX2:
        write_speaker(vox / "vox2/dev/aac", speaker, ".flac")
    refused = prepare(run, lists="veri_test2 list_test_hard2")
    assert refused.returncode == 1
    assert "list_test_hard2: 1 speakers of the list are trained with" in refused.stderr
    assert "--train vox2" in refused.stderr
    result = prepare(run, "--vox2", "vox2", "--train", "vox2", lists="veri_test2 list_test_hard2")
    assert result.returncode == 0, result.stderr
    sets = read_sets(vox)
    assert set(sets["dev"].spk2utt) == set(hashed(VOX2)[:2])
    assert set(sets["train"].spk2utt) == set(VOX2) - set(hashed(VOX2)[:2])
    assert sets["train"].table("spk2gender")[hashed(VOX2)[2]] == "f"
    assert len(read_trials(vox / "data/test/trials_list_test_hard2")) == 5


def test_both_corpora_train_together_and_the_first_is_held_out_of(run, vox):
    for speaker in VOX2:
        write_speaker(vox / "vox2", speaker)
    result = prepare(run, "--vox2", "vox2", "--train", "both")
    assert result.returncode == 0, result.stderr
    sets = read_sets(vox)
    assert set(VOX2) < set(sets["train"].spk2utt)
    assert set(sets["dev"].spk2utt) == set(hashed(["id10045", "id10050", "id10060"])[:2])


def test_recordings_that_are_not_converted_are_refused_with_the_command_that_does_it(run, vox):
    for speaker in VOX2:
        write_speaker(vox / "vox2/dev/aac", speaker, ".flac")
    lost = vox / "vox2/dev/aac/id00012/5r0dWxy17C8/00001.flac"
    lost.rename(lost.with_suffix(".m4a"))
    result = prepare(run, "--vox2", "vox2", "--train", "vox2")
    assert result.returncode == 1
    assert "1 recordings are there as .m4a only: id00012-5r0dWxy17C8-00001" in result.stderr
    assert "ffmpeg -nostdin" in result.stderr
    write_audio(lost)  # beside the .m4a
    assert prepare(run, "--vox2", "vox2", "--train", "vox2").returncode == 0


def test_the_first_release_with_names_becomes_the_same_speakers(run, vox):
    for name in NAMES.values():
        write_audio(vox / f"first/voxceleb1_wav/{name}/5r0dWxy17C8_0000001.wav")
        write_audio(vox / f"first/voxceleb1_wav/{name}/5r0dWxy17C8_0000002.wav")
    (vox / "lists/voxceleb1_test.txt").write_text(
        "1 Eartha_Kitt/5r0dWxy17C8_0000001.wav Eartha_Kitt/5r0dWxy17C8_0000002.wav\n"
        "0 Eartha_Kitt/5r0dWxy17C8_0000001.wav Ed_Westwick/5r0dWxy17C8_0000001.wav\n"
    )
    result = prepare(run, "--vox1", "first/voxceleb1_wav", lists="voxceleb1_test")
    assert result.returncode == 0, result.stderr
    assert "id10270 id10270-5r0dWxy17C8-0000001 id10270-5r0dWxy17C8-0000002" in (vox / "data/test/spk2utt").read_text()


def test_without_names_speakers_of_all_letters_are_held_out(run, vox):
    (vox / "lists/vox1_meta.csv").unlink()
    result = prepare(run)
    assert result.returncode == 0, result.stderr
    assert "no spk2gender" in result.stderr
    dev = hashed(set(NAMES) - {"id10270", "id10271"})[:2]
    assert set(DataDir.read(vox / "data/dev").spk2utt) == set(dev)
    assert not (vox / "data/train/spk2gender").exists()


def test_another_size_than_the_official_is_refused(run, vox):
    words = (PREPARE, "--vox1", "vox 1", "--lists-dir", "lists", "--lists", "veri_test2")
    result = run(*words, "data")
    assert result.returncode == 1
    assert "vox1 has 1251 speakers and 153516 utterances, found 7 and 28" in result.stderr
    assert "--any-size" in result.stderr


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        (
            lambda text: text.replace("id10270/-Gbe", "id10299/-Gbe"),
            "1 recordings of the list are not in --vox1: id10299--GbeNdjBdLk-00002",
        ),
        (
            lambda text: text.replace("5r0dWxy17C8/00001.wav id10271", "x/00001.wav id10271"),
            "'id10270/x/00001.wav' is not SPEAKER/VIDEO/NUMBER",
        ),
        (lambda text: text + text.splitlines()[0].replace("1", "0", 1) + "\n", "both labels"),
        (lambda text: "", "veri_test2.txt: is empty"),
    ],
)
def test_a_list_that_contradicts_the_corpus_is_refused(run, vox, change, mentions):
    (vox / "lists/veri_test2.txt").write_text(change(LIST))
    result = prepare(run)
    assert result.returncode == 1
    assert mentions in result.stderr
    assert not (vox / "data").exists()


def test_repeated_lines_of_a_list_are_counted(run, vox):
    (vox / "lists/veri_test2.txt").write_text(LIST + LIST.splitlines()[0] + "\n")
    result = prepare(run)
    assert result.returncode == 0
    assert "veri_test2: 1 lines repeat a pair and are left out" in result.stderr


def test_the_same_recording_in_two_places_is_refused(run, vox):
    write_audio(vox / "vox 1/wav/id10200/5r0dWxy17C8/00001.wav")
    result = prepare(run)
    assert result.returncode == 1
    assert "the same recording as" in result.stderr


def test_the_recipe_runs_from_end_to_end(run, tmp_path, tiny_config):
    write_vox1(tmp_path / "vox1", seconds=0.8)
    write_lists(tmp_path / "lists")
    words = ("--vox1", "vox1", "--trials-dir", "lists", "--lists", "veri_test2", "--num-dev", "2", "--any-size", "true", "--nj", "1")
    words = (*words, "--threads", "1", "--train-config", tiny_config, "--exp", "exp/tiny", "--results", "results.md")
    result = run(ROOT / "egs/voxceleb/v1/run.sh", *words, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    assert re.search(r"^veri_test2, tiny, trained on vox1, seed 0:\n(all.*\n)?EER +\d+\.\d\d % ", result.stdout, re.MULTILINE)
    control, trained, *by_gender = (tmp_path / "results.md").read_text().splitlines()[2:]
    assert by_gender and all(row.startswith("| veri_test2, tiny, trained on vox1, seed 0, gender ") for row in by_gender)
    assert control.startswith("| veri_test2, control: ")
    assert trained.startswith("| veri_test2, tiny, trained on vox1, seed 0 |")
    assert "2 target / 2 nontarget" in trained
