"""Files are fetched once, verified ever after, and every failure says what to do by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, Any

import pooch
import pytest
import requests

from gnnimpute._download import Published, fetch, geo, reading, sha256, trust

CONTENT = b"gene,1,2\n"
FILE = Published("table.csv.gz", "https://example.org/download/?file=table.csv.gz")


class Network:
    """Stands in for pooch's downloader: sends bytes, or fails."""

    def __init__(self) -> None:
        self.sends: bytes | Exception = CONTENT
        self.asked: list[str] = []

    def __call__(self, url: str, output_file: str | Path | IO[bytes], _pooch: Any, **_others: Any) -> None:
        self.asked.append(url)
        if isinstance(self.sends, Exception):
            raise self.sends
        Path(str(output_file)).write_bytes(self.sends)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", lambda _self, *args, **others: network(*args, **others))
    return network


def test_downloads_once(tmp_path: Path, network: Network) -> None:
    path = fetch(FILE, tmp_path / "cache")
    assert path == tmp_path / "cache" / "table.csv.gz"
    assert path.read_bytes() == CONTENT
    assert fetch(FILE, tmp_path / "cache") == path
    assert network.asked == [FILE.url]


def test_a_file_placed_by_hand_is_used(tmp_path: Path, network: Network) -> None:
    (tmp_path / FILE.name).write_bytes(b"by hand")
    assert fetch(FILE, tmp_path).read_bytes() == b"by hand"
    assert not network.asked


def test_default_folder_is_a_cache_of_this_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Network
) -> None:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    assert fetch(FILE, None) == tmp_path / "gnnimpute" / FILE.name
    assert network.asked == [FILE.url]


def test_relative_folders_and_home_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert fetch(FILE, "here") == tmp_path / "here" / FILE.name
    assert fetch(FILE, "~/there") == tmp_path / "there" / FILE.name


@pytest.mark.parametrize(
    "failure",
    [requests.exceptions.ConnectionError("no route to host"), requests.exceptions.HTTPError("404 Not Found")],
    ids=["no network", "not found"],
)
def test_without_network_the_error_says_what_to_place_where(
    tmp_path: Path, network: Network, failure: Exception
) -> None:
    network.sends = failure
    with pytest.raises(OSError, match="Could not download") as error:
        fetch(FILE, tmp_path)
    for part in (FILE.url, str(failure), f"exact name {FILE.name}", f"folder {tmp_path}", "folder="):
        assert part in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_was_read_once_is_verified(tmp_path: Path) -> None:
    path = fetch(FILE, tmp_path)
    checksum = trust(path)
    assert checksum == sha256(path) == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "table.csv.gz.sha256").read_text() == f"{checksum}  table.csv.gz\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["table.csv.gz", "table.csv.gz.sha256"]
    assert fetch(FILE, tmp_path) == path
    path.write_bytes(b"something else")
    with pytest.raises(OSError, match=f"is not the known file: its sha256 is .*, not {checksum}") as error:
        fetch(FILE, tmp_path)
    assert f"delete the record of the one that was read before, {path}.sha256" in str(error.value)
    assert path.read_bytes() == b"something else", "nothing is overwritten"


def test_a_second_download_must_be_what_was_read_once(tmp_path: Path, network: Network) -> None:
    path = fetch(FILE, tmp_path)
    trust(path)
    path.unlink()
    network.sends = b"something else"
    with pytest.raises(OSError, match="does not match the known hash"):
        fetch(FILE, tmp_path)
    assert not path.exists()
    network.sends = CONTENT
    assert fetch(FILE, tmp_path).read_bytes() == CONTENT


def test_a_published_checksum_is_verified_at_once(tmp_path: Path) -> None:
    good = Published(FILE.name, FILE.url, hashlib.sha256(CONTENT).hexdigest())
    assert fetch(good, tmp_path).exists()
    with pytest.raises(OSError, match=r"sha256 is .*, not 0000"):
        fetch(Published(FILE.name, FILE.url, "0" * 64), tmp_path)


def test_an_empty_record_is_none(tmp_path: Path) -> None:
    path = fetch(FILE, tmp_path)
    path.with_name(f"{FILE.name}.sha256").write_text("")
    assert fetch(FILE, tmp_path) == path
    assert trust(path) == sha256(path)


def test_a_folder_without_write_permission_keeps_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetch(FILE, tmp_path)

    def refuse(*_args: Any, **_others: Any) -> None:
        msg = "read-only file system"
        raise PermissionError(msg)

    monkeypatch.setattr(Path, "write_text", refuse)
    with caplog.at_level("INFO", logger="gnnimpute"):
        assert trust(path) == sha256(path)
    assert "No checksum is kept" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == [FILE.name]


@pytest.mark.parametrize("failure", [EOFError("cut"), ValueError("odd"), OSError("bad block")], ids=repr)
def test_unreadable_content_is_explained(tmp_path: Path, failure: Exception) -> None:
    path = tmp_path / FILE.name
    with pytest.raises(ValueError, match="cut short, or is not what was published") as error, reading(FILE, path):
        raise failure
    for part in (str(path), str(failure), FILE.url, "Delete it"):
        assert part in str(error.value)


@pytest.mark.parametrize("failure", [PermissionError, FileNotFoundError, KeyboardInterrupt, KeyError])
def test_other_failures_stay_themselves(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure, match=r"^'?as it was'?$"), reading(FILE, tmp_path):
        raise failure("as it was")  # noqa: EM101


def test_addresses_of_geo_are_https_downloads() -> None:
    file = geo("GSM1", "GSM1_a b.csv.bz2")
    assert file.url == "https://www.ncbi.nlm.nih.gov/geo/download/?acc=GSM1&format=file&file=GSM1_a%20b.csv.bz2"
    assert file.name == "GSM1_a b.csv.bz2"
