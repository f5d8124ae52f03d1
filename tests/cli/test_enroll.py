"""sv-enroll: from utterances to models, as a command."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.enroll import command as enroll
from sv_toolkit.cli.score import command as score
from sv_toolkit.io.archives import write_ark_scp


@pytest.fixture
def folder(tmp_path, rng):
    write_ark_scp(tmp_path, "dvector", {f"s{s}-u{u}": rng.normal(size=4).astype(np.float32) for s in range(3) for u in range(3)})
    (tmp_path / "spk2utt").write_text("".join(f"s{s} s{s}-u0 s{s}-u1\n" for s in range(3)))
    return tmp_path


def run(*arguments, command=enroll):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_stored_models_score_like_models_averaged_on_the_way(folder):
    (folder / "trials").write_text("".join(f"s{a} s{b}-u2\n" for a in range(3) for b in range(3)))
    made = run(folder / "dvector.scp", folder / "spk2utt", folder / "enroll")
    assert made.exit_code == 0
    assert made.stdout == ""
    assert "3 models" in made.stderr
    stored = run(folder / "trials", "--enroll", folder / "enroll" / "dvector.scp", command=score)
    assert stored.exit_code == 0
    assert stored.stdout == run(folder / "trials", "--enroll-spk2utt", folder / "spk2utt", command=score).stdout


@pytest.mark.parametrize(
    ("spk2utt", "message"),
    [("s1 s1-u0\ns5\n", "spk2utt:2: the model s5"), ("s1 nowhere\n", "nowhere, of the model s1"), ("", "empty")],
    ids=["no utterances", "unknown utterance", "empty file"],
)
def test_what_cannot_be_enrolled_leaves_nothing_that_looks_complete(folder, spk2utt, message):
    (folder / "spk2utt").write_text(spk2utt)
    result = run(folder / "dvector.scp", folder / "spk2utt", folder / "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (folder / "out" / "dvector.scp").exists()


def test_another_run_in_the_directory_is_not_touched_without_overwrite(folder):
    (folder / "out").mkdir()
    (folder / "out" / "dvector.scp").write_text("theirs x:1\n")
    refused = run(folder / "dvector.scp", folder / "spk2utt", folder / "out")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert (folder / "out" / "dvector.scp").read_text() == "theirs x:1\n"
    assert run(folder / "dvector.scp", folder / "spk2utt", folder / "out", "--overwrite").exit_code == 0


@pytest.mark.parametrize("option", [("--channel", 1), ("--resample",), ("--max-bad", 5), ("--allow-pipes",)], ids=str)
def test_options_of_recordings_are_refused_where_none_are_read(folder, option):
    result = run(folder / "dvector.scp", folder / "spk2utt", folder / "enroll", *option)
    assert result.exit_code == 2 and f"{option[0]} belongs to the form with --store" in result.stderr
    assert not (folder / "enroll").exists()
