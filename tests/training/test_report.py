"""The log of a training that is resumed."""

from __future__ import annotations

import logging

import pytest

from sv_toolkit.training.report import Log

GOOD = [b'{"step": 10, "loss": 1.0}', b'{"step": 20, "loss": 0.5}', b'{"step": 30, "loss": 0.4}']


def test_records_up_to_the_step_are_kept_to_the_byte_and_a_cut_line_goes(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n".join(GOOD) + b'\n{"step": 4')
    Log(path, 100, 8).rewind(20, {})
    assert path.read_bytes() == b"\n".join(GOOD[:2]) + b"\n"


@pytest.mark.parametrize("damage", [b"[]", b"\0\0\0", b"\xff\xfe", b'{"loss": 1}', b'{"step": "ten"}', b"null"])
def test_damaged_records_are_left_out_and_counted(tmp_path, caplog, damage):
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD[0] + b"\n" + damage + b"\n" + GOOD[1] + b"\n")
    with caplog.at_level(logging.WARNING, logger="sv_toolkit"):
        Log(path, 100, 8).rewind(20, {})
    assert path.read_bytes() == b"\n".join(GOOD[:2]) + b"\n"
    assert "1 damaged line" in caplog.text
