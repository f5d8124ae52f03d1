"""Training: learns, resumes with the same bits, stops cleanly, refuses what it cannot learn from."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch

from sv_toolkit.errors import DataError, ModelError, OutputError, SvError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.losses.registry import loss_config, make_loss
from sv_toolkit.losses.term import LossSize
from sv_toolkit.models.lstm import LstmConfig, LstmDvector
from sv_toolkit.models.store import load_model
from sv_toolkit.training import resume
from sv_toolkit.training.config import OptimizerConfig, train_config
from sv_toolkit.training.run import Options, run_training
from sv_toolkit.training.trainer import Trainer, make_optimizer
from sv_toolkit.training.validation import spread_over_speakers


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def stop_after(count):
    left = iter(range(count - 1))
    return lambda: next(left, None) is None


@pytest.fixture(autouse=True)
def hear_warnings(monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)


def test_training_learns_to_tell_its_speakers_apart(data, tables, tmp_path):
    tables["trainer"] = {"steps": 100, "valid_interval": 10, "log_interval": 10}
    tables["network"]["dropout"] = 0.0
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid=data))
    records = [json.loads(line) for line in (tmp_path / "exp/train.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    eers = [record["dev_eer"] for record in records if "dev_eer" in record]
    assert losses[-1] < 0.5 * losses[0]
    assert eers[-1] < 0.05 < eers[0]


def test_a_training_in_which_all_embeddings_stay_alike_stops_with_advice(data, tables, tmp_path):
    tables["trainer"] = {"steps": 100, "valid_interval": 100, "log_interval": 5}
    tables["network"] = {"num_layers": 5, "hidden_size": 32, "projection_size": 4, "embedding_dim": 8}
    tables["loss"] = {"name": "ge2e", "method": "contrast"}
    tables["optimizer"] = {"name": "sgd", "learning_rate": 1e-6}
    with pytest.raises(ModelError, match="step 20: the training has collapsed: all speakers have one embedding .*xavier"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
    assert not (tmp_path / "exp/model.json").exists()


@pytest.mark.parametrize("stops", [[1], [4], [5, 2], [3, 1, 1, 6]])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bytes(data, valid, tables, tmp_path, stops):
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "whole", valid))
    for count in stops:
        assert not run_training(config, Options(data, tmp_path / "broken", valid, should_stop=stop_after(count))).finished
    assert run_training(config, Options(data, tmp_path / "broken", valid)).finished
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_sgd_with_momentum_resumes_with_the_same_bytes(data, tables, tmp_path):
    tables["optimizer"] = {"name": "sgd", "momentum": 0.9}
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "whole"))
    run_training(config, Options(data, tmp_path / "broken", should_stop=stop_after(7)))
    run_training(config, Options(data, tmp_path / "broken"))
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_averaged_weights_resume_with_the_same_bytes_and_differ_from_the_last_step(data, valid, tables, tmp_path):
    tables["trainer"]["average"] = 0.9
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "whole", valid))
    run_training(config, Options(data, tmp_path / "broken", valid, should_stop=stop_after(7)))
    run_training(config, Options(data, tmp_path / "broken", valid))
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")
    job = json.loads((tmp_path / "whole/train.manifest.json").read_text())["job"]
    final = resume.under("network", resume.load_newest(tmp_path / "whole", job)[1])
    averaged = load_model(tmp_path / "whole/last")[0].state_dict()
    assert max(float((averaged[name] - final[name]).abs().max()) for name in final) > 1e-4


def test_the_average_agrees_with_its_recursion(data, tables):
    network = LstmDvector(6, LstmConfig(8, 0, 1, 4))
    tables["trainer"]["average"] = 0.5
    trainer = Trainer(
        train_config(tables, "x"),
        network,
        make_loss(loss_config({}, "x"), LossSize(0, 4)),
        lambda _: iter(()),
        None,
        data,
        {},
        torch.device("cpu"),
        None,
    )
    expected = network.linear.bias.detach().clone()
    for step in range(1, 15):
        trainer.progress.step = step
        with torch.no_grad():
            network.linear.bias.normal_()
        trainer.average.update(step)
        keep = min(0.5, step / (step + 9))
        expected = keep * expected + (1 - keep) * network.linear.bias.detach()
    torch.testing.assert_close(trainer.model.linear.bias.detach(), expected, rtol=1e-5, atol=1e-6)


def test_consistency_is_logged_and_chunks_train_the_same_model(data, tables, tmp_path):
    tables["network"]["dropout"] = 0.0
    tables["augment"] = {"band_probability": 1.0, "band_kept": [0.5, 0.7], "consistency": 1.0}
    weights = []
    for chunk in (0, 5):
        tables["trainer"]["chunk_utterances"] = chunk
        run_training(train_config(tables, "x"), Options(data, tmp_path / f"exp{chunk}"))
        weights.append(load_model(tmp_path / f"exp{chunk}")[0].state_dict())
        records = [json.loads(line) for line in (tmp_path / f"exp{chunk}/train.jsonl").read_text().splitlines()]
        assert all(-1 <= record["original_cosine"] < 1 for record in records if "loss" in record)
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)


def test_frames_read_from_disk_crop_by_crop_train_the_same_model(data, tables, tmp_path):
    for name, gigabytes in (("memory", 8.0), ("disk", 0.0)):
        tables["trainer"]["preload_gb"] = gigabytes
        run_training(train_config(tables, "x"), Options(data, tmp_path / name))
    assert digests(tmp_path / "memory")["model.safetensors"] == digests(tmp_path / "disk")["model.safetensors"]


def test_a_finished_run_does_nothing_again(data, tables, tmp_path, caplog):
    config, options = train_config(tables, "x"), Options(data, tmp_path / "exp")
    run_training(config, options)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "exp").rglob("*") if path.is_file()}
    caplog.set_level(logging.INFO, "sv_toolkit")
    assert run_training(config, options).finished
    assert "nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "exp").rglob("*") if path.is_file()} == before


def test_over_a_damaged_manifest_a_finished_training_is_published_again_from_its_checkpoint(data, tables, tmp_path, caplog):
    config, options = train_config(tables, "x"), Options(data, tmp_path / "exp")
    run_training(config, options)
    before, manifest = digests(tmp_path / "exp"), tmp_path / "exp" / "train.manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:40])
    assert run_training(config, options).finished
    assert "train.manifest.json: is damaged and is dropped; the training goes on from its checkpoints" in caplog.text
    assert digests(tmp_path / "exp") == before


def test_a_damaged_checkpoint_falls_back_to_the_one_before(data, tables, tmp_path, caplog):
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "whole"))
    run_training(config, Options(data, tmp_path / "broken", should_stop=stop_after(9)))
    newest = resume.checkpoints(tmp_path / "broken")[0]
    newest.write_bytes(newest.read_bytes()[:-100] + bytes(100))
    run_training(config, Options(data, tmp_path / "broken"))
    assert "falling back to the previous checkpoint" in caplog.text
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_where_all_checkpoints_are_damaged_that_it_begins_anew_is_told(data, tables, tmp_path, caplog):
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "exp", should_stop=stop_after(9)))
    found = resume.checkpoints(tmp_path / "exp")
    for path in found:
        path.write_bytes(path.read_bytes()[:100])
    assert run_training(config, Options(data, tmp_path / "exp")).finished
    said = [record.getMessage().rpartition("; ")[2] for record in caplog.records if "is damaged" in record.getMessage()]
    assert said == ["falling back to the previous checkpoint"] * (len(found) - 1) + ["starting from the beginning"]


def rewritten(path, change):
    """The checkpoint with other text in its header, of the same length or not."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = change(content[8 : 8 + size])
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.replace(b'\\"step\\": 9', b'\\"step\\": 8'),
        lambda header: header.replace(b'\\"num_steps\\": ', b'\\"num_steps\\": 1'),
        lambda header: header.replace(b'"network.linear.bias":{"dtype":"F32"', b'"network.linear.bias":{"dtype":"I32"'),
        lambda header: header.replace(
            b'"network.linear.weight":{"dtype":"F32","shape":[4,4]', b'"network.linear.weight":{"dtype":"F32","shape":[2,8]'
        ),
    ],
    ids=["step", "sum", "type", "shape"],
)
def test_a_header_that_was_changed_counts_as_damage(data, tables, tmp_path, caplog, change):
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "whole"))
    run_training(config, Options(data, tmp_path / "broken", should_stop=stop_after(9)))
    newest = resume.checkpoints(tmp_path / "broken")[0]
    before = newest.read_bytes()
    rewritten(newest, change)
    assert newest.read_bytes() != before
    run_training(config, Options(data, tmp_path / "broken"))
    assert "checksum mismatch" in caplog.text and "falling back to the previous checkpoint" in caplog.text
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_a_checkpoint_of_another_format_is_refused_with_the_way_out(data, tables, tmp_path):
    config = train_config(tables, "x")
    run_training(config, Options(data, tmp_path / "exp", should_stop=stop_after(3)))
    rewritten(resume.checkpoints(tmp_path / "exp")[0], lambda header: header.replace(b'\\"format\\": 3, ', b""))
    with pytest.raises(ModelError, match="checkpoint format 1, this version reads 3; give --overwrite, or another folder"):
        run_training(config, Options(data, tmp_path / "exp"))


def test_another_configuration_in_the_same_folder_is_refused_by_key(data, tables, tmp_path):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "done"))
    run_training(train_config(tables, "x"), Options(data, tmp_path / "half", should_stop=stop_after(5)))
    tables["network"]["hidden_size"] = 9
    with pytest.raises(OutputError, match="config.network.hidden_size"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "done"))
    with pytest.raises(ModelError, match="config.network.hidden_size"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "half"))
    (tmp_path / "done" / "calibration.json").write_text("{}")
    run_training(train_config(tables, "x"), Options(data, tmp_path / "done", overwrite=True))
    assert load_model(tmp_path / "done")[1].network["hidden_size"] == 9
    assert not (tmp_path / "done" / "calibration.json").exists()  # it is of the scores of the model before


def test_best_model_is_that_of_the_best_look_and_last_that_of_the_last(data, valid, tables, tmp_path):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid))
    _, best = load_model(tmp_path / "exp")
    looks = [json.loads(line) for line in (tmp_path / "exp/train.jsonl").read_text().splitlines() if "dev_eer" in line]
    assert best.provenance["dev_eer"] == min(look["dev_eer"] for look in looks)
    final = resume.under(
        "network", resume.load_newest(tmp_path / "exp", json.loads((tmp_path / "exp/train.manifest.json").read_text())["job"])[1]
    )
    for name, tensor in load_model(tmp_path / "exp/last")[0].state_dict().items():
        torch.testing.assert_close(tensor, final[name], rtol=0, atol=0)


def test_early_stopping_ends_a_run_that_no_longer_improves(data, valid, tables, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sv_toolkit")
    tables["optimizer"]["learning_rate"] = 1e-9  # nothing moves, so no look is better than the first
    tables["trainer"].update(steps=400, patience=2)
    progress = run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid))
    assert progress.finished and progress.step == 12
    assert "stopped early at step 12" in caplog.text


def test_what_was_learned_since_the_last_report_is_reported_when_a_run_stops_early(data, valid, tables, tmp_path):
    tables["trainer"].update(steps=200, valid_interval=3, patience=1, log_interval=100)
    tables["optimizer"]["learning_rate"] = 1e-9
    progress = run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid))
    records = [json.loads(line) for line in (tmp_path / "exp/train.jsonl").read_text().splitlines()]
    assert progress.step < 100 and [record["step"] for record in records if "loss" in record] == [progress.step]


def test_infinite_features_stop_training_before_any_weight_is_spoiled(tmp_path, make_data, rng, tables):
    data = make_data(tmp_path / "huge", rng)
    from sv_toolkit.io.archives import ScpReader

    reader = ScpReader(data / "feats.scp")
    write_ark_scp(data, "feats", {key: reader.read(key) * np.float32(1e30) for key in list(reader.keys())})
    with pytest.raises(SvError, match="not finite|no finite"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
    assert not (tmp_path / "exp/model.json").exists()


def test_one_speaker_with_one_utterance_is_left_out_and_named(tmp_path, make_data, rng, tables, caplog):
    data = make_data(tmp_path / "few", rng)
    lines = [line for line in (data / "utt2spk").read_text().splitlines() if not line.startswith(("s05-u1", "s05-u2", "s05-u3"))]
    kept = {line.split()[0] for line in lines}
    for name in ("utt2spk", "feats.scp", "vad.scp"):
        table = (data / name).read_text().splitlines()
        (data / name).write_text("".join(line + "\n" for line in table if line.split()[0] in kept))
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
    assert "s05-u0: speaker s05 has 1 usable utterances, 3 are needed" in caplog.text
    assert (tmp_path / "exp/skipped.tsv").read_text() == "s05-u0\tsv-train\tspeaker s05 has 1 usable utterances, 3 are needed\n"


def test_windows_longer_than_every_utterance_are_refused_with_the_longest(data, tables, tmp_path):
    tables["batch"].update(min_frames=1000, max_frames=1000)
    with pytest.raises(DataError, match=r"the longest has \d+ frames, 1000 are needed.*--window-frames"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))


def test_a_large_set_of_held_out_utterances_is_thinned_over_all_speakers():
    codes = np.repeat([0, 1, 2], [9, 1, 4])
    assert spread_over_speakers(codes, 6).tolist() == [0, 1, 2, 9, 10, 11]
    assert spread_over_speakers(codes, 100).tolist() == list(range(14))
    shuffled = np.array([2, 0, 0, 1, 2, 0])
    assert spread_over_speakers(shuffled, 3).tolist() == [0, 1, 3]


def test_speakers_on_both_sides_are_warned_of(data, tables, tmp_path, caplog):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", data))
    assert "6 speakers are in both training and held-out data" in caplog.text


def test_learning_rates_of_projections_and_of_scale_and_offset_are_factors():
    network, loss = LstmDvector(4, LstmConfig(8, 4, 1, 4)), make_loss(loss_config({}, "x"), LossSize(0, 4))
    groups = make_optimizer(network, loss, OptimizerConfig(learning_rate=0.01)).param_groups
    assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.005, 0.0001])
    assert sum(len(group["params"]) for group in groups) == len([*network.parameters(), *loss.parameters()])


def test_speaker_bases_learn_at_the_rate_of_the_network():
    loss = make_loss(loss_config({"name": "softmax"}, "x"), LossSize(5, 4))
    groups = make_optimizer(LstmDvector(4, LstmConfig(8, 0, 1, 4)), loss, OptimizerConfig(learning_rate=0.01, loss_factor=0.5)).param_groups
    bases = [group["lr"] for group in groups if any(parameter is loss.bases for parameter in group["params"])]
    assert bases == [0.01]


def test_log_records_hold_no_wall_clock_time(data, tables, tmp_path):
    for name in ("a", "b"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / name, timing=tmp_path / f"{name}.timing"))
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()
    assert json.loads((tmp_path / "a.timing").read_text().splitlines()[0])["seconds"] > 0


def test_data_without_any_vad_is_warned_of_and_the_model_remembers(data, tables, tmp_path, caplog):
    (data / "vad.scp").unlink()
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
    assert "no vad.scp: all frames count as speech" in caplog.text
    assert load_model(tmp_path / "exp")[1].input.use_vad is False


def test_a_folder_with_someone_elses_model_is_left_alone(data, tables, tmp_path):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "one"))
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one/model.json", tmp_path / "two/model.json")
    with pytest.raises(OutputError, match="did not make"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "two"))


def test_the_papers_sgd_step_agrees_with_its_slow_definition():
    """One step by hand: clip at 3 over all gradients, then rate x factor x gradient."""
    torch.manual_seed(0)
    network, loss = (
        LstmDvector(4, LstmConfig(8, 4, 1, 4)).double(),
        make_loss(loss_config({"reduction": "sum"}, "x"), LossSize(0, 4)).double(),
    )
    config = OptimizerConfig(learning_rate=0.01, clip=0.5)
    optimizer = make_optimizer(network, loss, config)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    loss(network(torch.randn(6, 5, 4, dtype=torch.float64)).double().view(2, 3, 4)).loss.backward()
    total = torch.sqrt(sum((parameter.grad**2).sum() for parameter in parameters))
    rates = [0.01 * (0.5 if "weight_hr" in name else 1) for name, _ in network.named_parameters()] + [0.0001, 0.0001]
    named = [*network.parameters(), *loss.parameters()]
    expected = [p.detach() - rate * p.grad * min(1, 0.5 / (total + 1e-6)) for p, rate in zip(named, rates)]
    torch.nn.utils.clip_grad_norm_(parameters, config.clip)
    optimizer.step()
    for parameter, value in zip(named, expected):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-9, atol=1e-12)
