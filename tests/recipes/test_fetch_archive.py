"""utils/fetch_archive: the folder appears when everything is checked and unpacked, or not at all."""

import gzip
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


def damaged(tar, kind):
    """The bytes of a tar archive of three files of two blocks each, damaged and then compressed as a whole."""
    if kind == "bad block":
        return gzip.compress(tar[:1024] + b"x" * 512 + tar[1536:])
    if kind == "cut between members":
        return gzip.compress(tar[:2048])
    if kind == "cut between members, not compressed":
        return tar[:2048]
    whole = gzip.compress(tar)
    return whole[:-8] + bytes(4) + whole[-4:]  # the checksum


@pytest.mark.parametrize("kind", ["bad block", "cut between members", "cut between members, not compressed", "checksum"])
def test_a_damaged_archive_leaves_nothing(run, tmp_path, archive, kind):
    path = archive(("a", b"a" * 512), ("b", b"b" * 512), ("c", b"c" * 512))
    path.write_bytes(damaged(gzip.decompress(path.read_bytes()), kind))
    result = run("fetch_archive", path.as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert "release.tar.gz: cannot be unpacked" in result.stderr
    assert "Traceback" not in result.stderr
    assert [file.name for file in (tmp_path / "downloads").iterdir()] == ["release.tar.gz"]


@pytest.mark.parametrize(
    "url", ["corpus.tar.gz", "/tmp/corpus.tar.gz", "http://[::1/x.tar.gz", "https://host/", "gopher://host/x", "https://h/a b"]
)
def test_what_is_no_url_of_a_file_is_refused_in_one_line(run, tmp_path, url):
    result = run("fetch_archive", url, "downloads/corpus")
    assert result.returncode == 2
    assert "is no URL of a file" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "downloads").exists()


def test_a_failed_download_names_the_address_and_the_way_out(run, tmp_path):
    result = run("fetch_archive", (tmp_path / "nowhere.tar.gz").as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert "nowhere.tar.gz: cannot be downloaded" in result.stderr
    assert "--corpus" in result.stderr
    assert not list((tmp_path / "downloads").iterdir())


def md5_list(tmp_path, path, digest=None):
    digest = digest or hashlib.md5(path.read_bytes()).hexdigest()
    (tmp_path / "md5sum.txt").write_text(f"{'0' * 32}  other.tar.gz\n{digest}  {path.name}\n")
    return tmp_path / "md5sum.txt"


def test_an_archive_with_the_listed_md5_is_unpacked(run, tmp_path, archive):
    path = archive(("bed/a.wav", b"abc"))
    result = run("fetch_archive", "--md5-file", md5_list(tmp_path, path), path.as_uri(), "downloads/corpus")
    assert result.returncode == 0, result.stderr
    assert "MD5 as in" in result.stderr
    assert (tmp_path / "downloads/corpus/bed/a.wav").read_bytes() == b"abc"


def test_another_md5_than_the_listed_one_is_refused(run, tmp_path, archive):
    path = archive(("bed/a.wav", b"abc"))
    result = run("fetch_archive", "--md5-file", md5_list(tmp_path, path, "f" * 32), path.as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert hashlib.md5(path.read_bytes()).hexdigest() in result.stderr
    assert not (tmp_path / "downloads/corpus").exists()


def test_an_archive_that_the_list_does_not_know_is_not_even_downloaded(run, tmp_path, archive):
    sums = md5_list(tmp_path, archive(("a", b"abc")))
    result = run("fetch_archive", "--md5-file", sums, (tmp_path / "unknown.tar.gz").as_uri(), "downloads/corpus")
    assert result.returncode == 1
    assert "md5sum.txt: holds no line 'MD5  unknown.tar.gz'" in result.stderr
    assert not (tmp_path / "downloads").exists()


def test_a_plain_file_is_kept_as_it_is_and_fetched_once(run, tmp_path):
    source = tmp_path / "veri_test.txt"
    source.write_text("1 a b\n")
    words = ("fetch_archive", "--plain", source.as_uri(), "downloads/lists")
    assert run(*words).returncode == 0
    source.unlink()
    again = run(*words)
    assert again.returncode == 0, again.stderr
    assert hashlib.sha256(b"1 a b\n").hexdigest() in again.stderr
    assert (tmp_path / "downloads/lists/veri_test.txt").read_text() == "1 a b\n"
