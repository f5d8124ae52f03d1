"""What is fuzzed: every reader of foreign bytes, with seeds that it reads and the errors that it may raise.

A reader gets a folder in which `place` has put the bytes; it reads them, and raises nothing but `SvError`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.errors import SvError

Reader = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """`name` of the file that the bytes go into, its `read`er, `seeds` that are read without an error, `largest` input in bytes."""

    name: str
    read: Reader
    seeds: Callable[[Path], list[bytes]]
    prepare: Callable[[Path], object] = lambda folder: None
    largest: int = 4096

    def try_bytes(self, folder: Path, data: bytes) -> SvError | None:
        """Read `data`; the refusal, one line without control characters, or None where it was read."""
        (folder / self.name).write_bytes(data)
        try:
            self.read(folder)
        except SvError as error:
            text = str(error)
            assert text and text.isprintable(), text
            return error
        return None


def _matrices() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"a-1": rng.normal(size=(6, 3)).astype(np.float32), "b-1": rng.normal(size=(4, 3)).astype(np.float32)}


def _archive(folder: Path) -> None:
    from sv_toolkit.io.archives import write_ark_scp

    write_ark_scp(folder, "feats", _matrices())


def _archives(folder: Path) -> list[bytes]:
    from sv_toolkit.io.kaldi_matrix import encode_record

    found = [b"".join(encode_record(key, array, how) for key, array in _matrices().items()) for how in (None, "CM", "CM2", "CM3")]
    vectors = encode_record("v", np.arange(4, dtype=np.float64)) + encode_record("i", np.arange(3, dtype=np.int32))
    return [*found, vectors, b"a-1  [\n 1 2 3\n 4 5 6 ]\nb-1  [ 1 2.5 nan ]\n"]


def _read_archive(folder: Path) -> None:
    from sv_toolkit.io.archives import ScpReader, read_ark

    data = (folder / "feats.ark").read_bytes()
    (folder / "feats.scp").write_text(f"a {folder}/feats.ark:4\nb {folder}/feats.ark:{len(data) // 2}\n")
    reader = ScpReader(folder / "feats.scp")
    try:
        for key in ("a", "b"):
            try:
                reader.read(key)
            except SvError as error:
                assert str(error).isprintable(), error
        for _ in read_ark(folder / "feats.ark"):
            pass
    finally:
        reader.close()


def _read_scp(folder: Path) -> None:
    from sv_toolkit.io.archives import ScpReader

    reader = ScpReader(folder / "x.scp")
    try:
        for key in list(reader)[:4]:
            reader.read(key)
    finally:
        reader.close()


def _scps(folder: Path) -> list[bytes]:
    ark = str(folder / "feats.ark")
    return [
        f"a-1 {ark}:4\nb-1 {ark}:95\n".encode(),
        f"a-1 {ark}:4[0:2]\n".encode(),
        f"a-1 {ark}:4[:,1:2]\n".encode(),
        f"a-1 {ark}:4[1:2,0:1]\n".encode(),
    ]


TABLES = ("wav.scp", "utt2spk", "spk2utt", "segments", "spk2gender", "reco2file_and_channel", "utt2dur", "utt2speed", "utt2date")


def _read_table(folder: Path) -> None:
    from sv_toolkit.data.forms import check

    data = (folder / "table").read_bytes()
    path = folder / TABLES[data[0] % len(TABLES) if data else 0]
    path.write_bytes(data[1:])
    _, problems = check(path)
    path.unlink()
    for problem in problems:
        assert str(problem).isprintable(), problem


def _read_data(folder: Path) -> None:
    from sv_toolkit.data.validation import validate

    data = (folder / "tables").read_bytes()
    names = ("wav.scp", "utt2spk", "segments", "utt2dur")
    for name, part in zip(names, (data + b"\x00" * 3).split(b"\x00")):
        (folder / name).unlink(missing_ok=True)
        if part or name in names[:2]:
            (folder / name).write_bytes(part)
    for problem in validate(folder):
        assert str(problem).isprintable(), problem


def _audio(folder: Path) -> list[bytes]:
    import soundfile

    samples, found = (np.sin(np.arange(400) / 5) * 0.3).astype(np.float32), []
    for kind, coding in (
        ("WAV", "PCM_16"),
        ("WAV", "ULAW"),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("NIST", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
    ):
        stream = io.BytesIO()
        soundfile.write(stream, samples, 16_000, format=kind, subtype=coding)
        found.append(stream.getvalue())
    return found


def _read_audio(folder: Path) -> None:
    from sv_toolkit.io.audio import AudioRequest, read_waveform
    from sv_toolkit.io.audio_files import read_header

    path = str(folder / "sound")
    try:
        read_header(path)
    finally:
        samples = read_waveform(AudioRequest(path, "wav.scp:1", "u", channel=0, resample=False, max_duration=60.0)).samples
        assert len(samples) and np.isfinite(samples).all()


def _read_pcm(folder: Path) -> None:
    from sv_toolkit.io.pcm import PcmStream

    stream = io.BytesIO((folder / "pcm").read_bytes())
    for block in PcmStream(lambda count: stream.read(min(count, 97)), 16_000, 0).blocks():
        assert np.isfinite(block).all()


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _read_train_config(name: str) -> Reader:
    def read(folder: Path) -> None:
        from sv_toolkit.training.config import read_train_config

        read_train_config(folder / name, {})

    return read


def _tomls(folder: Path) -> list[bytes]:
    recipes = sorted((Path(__file__).parents[2] / "egs").glob("*/v*/conf/train*.toml"))
    return [path.read_bytes() for path in recipes[:6]]


def _jsons(folder: Path) -> list[bytes]:
    import tomllib

    return [_json(tomllib.loads(text.decode())) for text in _tomls(folder)[:2]]


def _model(folder: Path) -> None:
    import torch

    from sv_toolkit.features.prepare import InputConfig
    from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

    torch.manual_seed(0)
    network = {"hidden_size": 4, "num_layers": 1, "projection_size": 0, "embedding_dim": 3}
    description = Description("lstm", network, 2, InputConfig(), WindowConfig())
    save_model(folder, make_network(description).state_dict(), description)


def _read_model(folder: Path) -> None:
    from sv_toolkit.models.store import load_model

    load_model(folder)


def _existing(name: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [(folder / name).read_bytes()]


def _read_weights(folder: Path) -> None:
    """The checksum is made to fit, so that what is behind it is reached."""
    data = (folder / "model.safetensors").read_bytes()
    content = json.loads((folder / "model.json").read_text())
    content["weights"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "model.json").write_text(json.dumps(content))
    _read_model(folder)


def _calibrations(folder: Path) -> list[bytes]:
    from sv_toolkit.backends.calibration import FitList, calibrate, write_calibration

    scores, found = np.array([1.0, 2.0, 0.5, -1.0, 0.0, 1.2]), []
    is_target = np.array([True, True, True, False, False, False])
    for how in ({}, {"quality": {"log_seconds": np.arange(6.0) % 4}}, {"model": "a" * 64, "seconds": (1.0, 3.0)}):
        write_calibration(folder / "calibration.json", calibrate(scores, is_target, FitList("t", "abc", 3, 3), **how))
        found.append((folder / "calibration.json").read_bytes())
    return found


def _read_calibration(folder: Path) -> None:
    from sv_toolkit.backends.calibration import read_calibration

    found = read_calibration(folder / "calibration.json")
    quality = {measure.name: np.zeros(1) for measure in found.quality}
    found.rates_at(float(found.llr(np.zeros(1), quality)[0]))


def _read_fusion(folder: Path) -> None:
    from sv_toolkit.backends.fusion import read_fusion

    found = read_fusion(folder / "fusion.json")
    found.fuse(np.zeros((2, len(found.systems))))


def _fusions(folder: Path) -> list[bytes]:
    from sv_toolkit.backends.fusion import fit_mean_variance, write_fusion

    write_fusion(folder / "fusion.json", fit_mean_variance(np.arange(8.0).reshape(4, 2) ** 2, ["a", "b"]))
    return [(folder / "fusion.json").read_bytes()]


def _store(folder: Path) -> None:
    from sv_toolkit.embeddings.waveform import Embedded
    from sv_toolkit.verification.store import enroll

    vector = np.array([0.6, 0.8, 0.0], np.float32)
    people = {name: [Embedded(vector, 1.0, 100, 100, str(place) * 64)] for place, name in enumerate(("anna", "bert"))}
    enroll(folder, "a" * 64, people)


def _read_store(folder: Path) -> None:
    from sv_toolkit.verification.store import read_store

    read_store(folder)


def _read_means(folder: Path) -> None:
    """The digest and the name are made to fit, so that what is behind them is reached."""
    data = (folder / "means").read_bytes()
    content = json.loads((folder / "store.json").read_text())
    content["means"] = hashlib.sha256(data).hexdigest()
    (folder / "store.json").write_text(json.dumps(content))
    path = folder / f"means.{content['means'][:16]}.safetensors"
    path.write_bytes(data)
    try:
        _read_store(folder)
    finally:
        path.unlink()


def _means(folder: Path) -> list[bytes]:
    return [next(folder.glob("means.*.safetensors")).read_bytes()]


def _backend(folder: Path) -> None:
    from sv_toolkit.backends.registry import backend_entry
    from sv_toolkit.backends.store import save_backend

    config, made = backend_entry("two-covariance")
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8), 4)
    save_backend(
        folder, "two-covariance", made(config()).fit(rng.normal(size=(32, 3)) + 2 * rng.normal(size=(8, 3))[speakers], speakers), {}
    )


def _read_backend(folder: Path) -> None:
    from sv_toolkit.backends.store import load_backend

    load_backend(folder)


def _pldas(folder: Path) -> list[bytes]:
    from sv_toolkit.backends.kaldi_plda import read_kaldi_plda, write_kaldi_plda

    text = b"<Plda>  [ 1 2 ]\n [\n 1 0\n 0 1 ]\n [ 3 1 ]\n</Plda> \n"
    (folder / "plda").write_bytes(text)
    write_kaldi_plda(folder / "plda", read_kaldi_plda(folder / "plda"))
    return [text, (folder / "plda").read_bytes()]


def _read_plda(folder: Path) -> None:
    from sv_toolkit.backends.kaldi_plda import read_kaldi_plda

    read_kaldi_plda(folder / "plda")


def _manifest(folder: Path) -> None:
    from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest

    (folder / "utt2dur").write_text("a 1\n")
    write_manifest(folder, Manifest("fbank", {"config": {"bins": 40}}, {"utterances": 1}, {"utt2dur": describe_file(folder / "utt2dur")}))


def _read_manifest(folder: Path) -> None:
    from sv_toolkit.io.manifest import damaged_files, made_with, read_manifest

    found = read_manifest(folder, "fbank")
    if found is not None:
        damaged_files(folder, found, thorough=True)
        made_with(folder, "fbank")


CHECKPOINT = "ckpt-00000001.safetensors"


def _checkpoint(folder: Path) -> None:
    import torch

    from sv_toolkit.training.resume import Progress, save_checkpoint

    save_checkpoint(folder, Progress(1), {"w": torch.arange(3.0)}, {"seed": 0}, regular=True)


def _read_checkpoint(folder: Path) -> None:
    from sv_toolkit.training.resume import is_regular, load_newest

    is_regular(folder / CHECKPOINT)
    load_newest(folder, {"seed": 0})


def _read_trials(folder: Path) -> None:
    from sv_toolkit.data.trials import read_trials

    for form in ("auto", "voxceleb"):
        try:
            len(read_trials(folder / "trials", form).hash)
        except SvError as error:
            assert str(error).isprintable(), error


def _read_scores(folder: Path) -> None:
    from sv_toolkit.data.trials import read_scored

    _, scores = read_scored(folder / "scores")
    assert np.isfinite(scores).all()


def _read_skipped(folder: Path) -> None:
    from sv_toolkit.data.skipped import read_skipped

    read_skipped(folder / "skipped.tsv")


def _lines(*texts: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [text.encode() for text in texts]


TARGETS = {
    "scp": Target("x.scp", _read_scp, _scps, _archive),
    "ark": Target("feats.ark", _read_archive, _archives),
    "table": Target(
        "table",
        _read_table,
        _lines(
            "\0a-1 x.wav\nb-1 y.wav\n",
            "\1a-1 a\nb-1 b\n",
            "\3a-1 r 0 1.5\n",
            "\4a f\n",
            "\5r x A\n",
            "\6a 1.5\n",
            "\7a 0.9\n",
            "\10a 2020-01-31\n",
        ),
    ),
    "data": Target("tables", _read_data, _lines("a-1 x\nb-1 y\n\0a-1 a\nb-1 b\n", "r x\n\0a-1 a\n\0a-1 r 0 1\n\0a-1 1\n")),
    "trials": Target("trials", _read_trials, _lines("a b target\nc d nontarget\n", "1 a/x b/y\n0 a/x c/z\n", "a b\nc d\n")),
    "scores": Target("scores", _read_scores, _lines("a b 1.5\nc d -2e-3\n")),
    "audio": Target("sound", _read_audio, _audio),
    "pcm": Target("pcm", _read_pcm, lambda folder: [_audio(folder)[0], b"\1\0\2\0" * 40]),
    "toml": Target("c.toml", _read_train_config("c.toml"), _tomls),
    "json": Target("c.json", _read_train_config("c.json"), _jsons),
    "model": Target("model.json", _read_model, _existing("model.json"), _model),
    "weights": Target("model.safetensors", _read_weights, _existing("model.safetensors"), _model),
    "calibration": Target("calibration.json", _read_calibration, _calibrations),
    "fusion": Target("fusion.json", _read_fusion, _fusions),
    "store": Target("store.json", _read_store, _existing("store.json"), _store),
    "means": Target("means", _read_means, _means, _store),
    "backend": Target("backend.json", _read_backend, _existing("backend.json"), _backend),
    "plda": Target("plda", _read_plda, _pldas),
    "manifest": Target("fbank.manifest.json", _read_manifest, _existing("fbank.manifest.json"), _manifest),
    "checkpoint": Target(CHECKPOINT, _read_checkpoint, _existing(CHECKPOINT), _checkpoint),
    "skipped": Target("skipped.tsv", _read_skipped, _lines("sv-extract-fbank\ta-1\ttoo short\n")),
}


def mutations(seed: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """`count` copies of `seed` with bits turned, bytes cut out, doubled or replaced: a fuzzer without coverage, for tests."""
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(0, len(data) + 1))
            end = min(len(data), at + int(rng.integers(1, 9)))
            kind = int(rng.integers(0, 4))
            data[at:end] = (
                bytes(rng.integers(0, 256, end - at, np.uint8)),
                b"",
                bytes(data[at:end]) * 2,
                bytes(256 - b & 255 for b in data[at:end]),
            )[kind]
        yield bytes(data)
