"""utils/fetch_archive: the folder appears when everything is checked and unpacked, or not at all."""

import hashlib
import io
import tarfile

import pytest


@pytest.fixture
def archive(tmp_path):
    """Make `release.tar.gz` with the members (name, content); content None makes a link to /etc/passwd."""

    def make(*members):
        path = tmp_path / "release.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content or b"")
                if content is None:
                    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info, io.BytesIO(content or b""))
        return path

    return make


def test_an_archive_is_unpacked_once(run, tmp_path, archive):
    path = archive(("bed/a.wav", b"abc"), ("README", b"text"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = run("fetch_archive", "--sha256", digest, path.as_uri(), "downloads/corpus")
    assert result.returncode == 0, result.stderr
    assert digest in result.stderr
    assert (tmp_path / "downloads/corpus/bed/a.wav").read_bytes() == b"abc"
    path.unlink()
    again = run("fetch_archive", "--sha256", digest, path.as_uri(), "downloads/corpus")
    assert again.returncode == 0
    assert "there already" in again.stderr


def test_another_checksum_is_refused(run, tmp_path, archive):
    path = archive(("bed/a.wav", b"abc"))
    result = run("fetch_archive", "--sha256", "0" * 64, path.as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() in result.stderr
    assert "the official release has 0000" in result.stderr
    assert not (tmp_path / "downloads/corpus").exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside-fetch", "bed/../../outside"])
def test_names_that_lead_out_are_refused(run, tmp_path, archive, name):
    result = run("fetch_archive", archive(("bed/a.wav", b"abc"), (name, b"x")).as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert "nothing is unpacked" in result.stderr
    assert not list(tmp_path.rglob("outside*"))
    assert not (tmp_path / "downloads/corpus").exists()


def test_links_are_left_out(run, tmp_path, archive):
    assert run("fetch_archive", archive(("a", b"abc"), ("link", None)).as_uri(), "downloads/corpus").returncode == 0
    assert [file.name for file in (tmp_path / "downloads/corpus").iterdir()] == ["a"]


def test_a_cut_archive_leaves_nothing(run, tmp_path, archive):
    path = archive(("a", bytes(range(256)) * 200))
    path.write_bytes(path.read_bytes()[:-80])
    result = run("fetch_archive", path.as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert "cannot be unpacked" in result.stderr
    assert "Traceback" not in result.stderr
    assert [file.name for file in (tmp_path / "downloads").iterdir()] == ["release.tar.gz"]


def test_a_failed_download_names_the_address_and_the_way_out(run, tmp_path):
    result = run("fetch_archive", (tmp_path / "nowhere.tar.gz").as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert "nowhere.tar.gz: cannot be downloaded" in result.stderr
    assert "--corpus" in result.stderr
    assert not list((tmp_path / "downloads").iterdir())
