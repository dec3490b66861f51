"""Stores that answer slowly, with errors, or break off: requests are repeated, then the image is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from camcli.errors import SourceError
from camcli.images import Sources, read
from camcli.storage import StorageError, file_system, open_parts, open_stream, read_bytes, reading
from tests.conftest import Cam, index_of, items

from .conftest import Upload
from .servers import FaultyServer

IN = "s3://bucket/in"


@pytest.fixture
def uploaded(s3: FaultyServer, pictures: Path, upload: Upload) -> FaultyServer:
    upload(pictures, IN)
    s3.reset()
    return s3


@pytest.mark.parametrize("fault", ["fail", "cut", pytest.param("hang_up", marks=pytest.mark.slow)])
def test_what_passes_leaves_no_trace(
    tiny: Cam, uploaded: FaultyServer, pictures: Path, tmp_path: Path, fault: str
) -> None:
    tiny(pictures, "-o", tmp_path / "here")
    for name in ("cat/a.jpg", "dog.jpg", "cup/a.jpg"):
        getattr(uploaded, fault)(f"GET /bucket/in/{name}", 1)
    uploaded.fail(r"GET /bucket\?list", 1, status=500)
    outcome = tiny(IN, "-o", tmp_path / "there")
    assert outcome.code == 3
    rows = [items(tmp_path / run) for run in ("there", "here")]
    assert [{**row, "source": ""} for row in rows[0]] == [{**row, "source": ""} for row in rows[1]]
    assert [row["image"] for row in rows[0] if row["status"] == "failed"] == ["flower/broken.jpg"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [("cut", "ayload"), pytest.param("fail", "HTTP 503", marks=pytest.mark.slow),
     pytest.param("hang_up", "onnection", marks=pytest.mark.slow)],
)  # fmt: skip
def test_what_does_not_pass_is_named(tiny: Cam, uploaded: FaultyServer, tmp_path: Path, fault: str, words: str) -> None:
    getattr(uploaded, fault)("GET /bucket/in/(cat/a|dog).jpg")
    outcome = tiny(IN, "-o", tmp_path / "run")
    assert outcome.code == 3
    errors = {row["image"]: row["error"] for row in items(tmp_path / "run") if row["error"]}
    assert sorted(errors) == ["cat/a.jpg", "dog.jpg", "flower/broken.jpg"]
    assert errors["dog.jpg"]["kind"] == "unreadable"
    assert words in errors["dog.jpg"]["message"]
    assert "tried 3 times" in errors["dog.jpg"]["message"]
    assert "Traceback" not in outcome.err
    assert uploaded.count("GET /bucket/in/dog.jpg") <= 12
    uploaded.reset()
    assert tiny(IN, "-o", tmp_path / "run", "--retry-failed").code == 3
    assert index_of(tmp_path / "run")["counts"]["failed"] == 1


def test_a_single_image_without_permission_is_named(tiny: Cam, uploaded: FaultyServer, tmp_path: Path) -> None:
    uploaded.fail("GET /bucket/in/dog.jpg", status=403)
    assert tiny(IN, "-o", tmp_path / "run").code == 3
    (error,) = [row["error"] for row in items(tmp_path / "run") if row["image"] == "dog.jpg"]
    assert error["kind"] == "unreadable"
    assert error["message"].startswith("it cannot be read: access was denied (HTTP 403")
    assert uploaded.count("GET /bucket/in/dog.jpg") == 1


@pytest.mark.parametrize("path", [IN, f"{IN}/", f"{IN}/dog.jpg", f"@{IN}/l.txt", f"{IN}/*.jpg"])
def test_no_permission_at_all_is_refused(cam: Cam, uploaded: FaultyServer, tmp_path: Path, path: str) -> None:
    uploaded.fail("/bucket", status=403)
    outcome = cam("run", path, "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "access was denied" in outcome.err
    assert "AWS_ACCESS_KEY_ID" in outcome.err
    assert "SECRET-VALUE" not in outcome.err
    uploaded.reset()


def test_a_store_that_is_down_is_refused(cam: Cam, uploaded: FaultyServer, tmp_path: Path) -> None:
    uploaded.fail("/bucket")
    outcome = cam("run", IN, "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "HTTP 503" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_folder_that_cannot_be_listed_is_named(tiny: Cam, uploaded: FaultyServer, tmp_path: Path) -> None:
    uploaded.fail("list.*prefix=in/dog/", status=500)
    assert tiny(IN, "-o", tmp_path / "run").code == 3
    errors = {row["image"]: row["error"] for row in items(tmp_path / "run") if row["error"]}
    assert errors["dog"]["message"].startswith("the folder cannot be listed (HTTP 500")


@pytest.mark.parametrize("connections", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_so_many_images_are_read_at_once(
    tiny: Cam, s3: FaultyServer, pictures: Path, upload: Upload, tmp_path: Path, connections: int
) -> None:
    for number in range(2):
        upload(pictures, f"{IN}/{number}")
    s3.reset()
    s3.reads_to_gather = connections
    s3.delay = 0.02  # in which one more would come
    run = (IN, "-o", tmp_path / "run", "--connections", connections, "--workers", 1, "--save", "none")
    assert tiny(*run).code == 3
    assert s3.most_reads_at_once == connections


def test_a_stream_goes_on_where_it_broke_off(
    s3: FaultyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upload: Upload
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 1000)
    content = bytes(range(256)) * 40
    (tmp_path / "f").mkdir()
    (tmp_path / "f/x.tar").write_bytes(content)
    upload(tmp_path / "f", IN)
    s3.cut("GET /bucket/in/x.tar", 3)
    s3.fail("GET /bucket/in/x.tar", 1)
    with open_stream(f"{IN}/x.tar") as stream:
        assert stream.read(10) == content[:10]
        assert stream.read() == content[10:]
    assert read_bytes(f"{IN}/x.tar", 300, 310) == content[300:310]


@pytest.fixture
def web(pictures: Path) -> Iterator[str]:
    """The pictures on a web server that lists its folders."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pictures)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_server(tiny: Cam, web: str, pictures: Path, tmp_path: Path) -> None:
    tiny(pictures, "-o", tmp_path / "here")
    assert tiny(f"{web}/", "-o", tmp_path / "there").code == 3
    rows = [items(tmp_path / run) for run in ("there", "here")]
    assert [{**row, "source": ""} for row in rows[0]] == [{**row, "source": ""} for row in rows[1]]
    assert [entry.image for entry in Sources([f"{web}/dog.jpg?size=full"])] == ["dog.jpg"]
    assert [entry.image for entry in Sources([f"{web}/c*/*.jpg"])] == ["cat/a.jpg", "cup/100%.jpg", "cup/a.jpg"]
    with pytest.raises(SourceError, match="nothing of this name is there"):
        Sources([f"{web}/none.jpg"])
    with pytest.raises(SourceError, match="tried 3 times"):
        Sources(["http://127.0.0.1:9/a.jpg"])


def test_a_web_server_that_sends_no_parts(web: str, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK", 100)
    content = (pictures / "dog.jpg").read_bytes()
    for opened in (open_stream, open_parts):
        with opened(f"{web}/dog.jpg") as stream:
            assert stream.read() == content
    assert read_bytes(f"{web}/dog.jpg", 10, 20) == content[10:20]


def test_secrets_are_not_written(tiny: Cam, web: str, pictures: Path, tmp_path: Path) -> None:
    place = web.replace("://", "://me:hush1@")
    signed = f"{place}/dog.jpg?X-Amz-Signature=hush2&v=1"
    (tmp_path / "list.txt").write_text(f"{signed}\n{place}/none.jpg?token=hush3\n")
    run = (signed, f"@{tmp_path / 'list.txt'}", "-o", tmp_path / "run")
    outcome = tiny(*run, "-v")
    assert outcome.code == 3
    written = "".join(p.read_text("utf-8", "replace") for p in (tmp_path / "run").rglob("*") if p.is_file())
    names = "".join(str(path) for path in (tmp_path / "run").rglob("*"))
    assert "hush" not in outcome.out + outcome.err + written + names
    masked = web.replace("://", "://***@") + "/dog.jpg?X-Amz-Signature=***&v=1"
    assert index_of(tmp_path / "run")["config"]["image_path"][0] == masked
    assert items(tmp_path / "run")[0]["source"] == masked
    assert items(tmp_path / "run")[1]["image"] == masked
    again = tiny(signed.replace("hush2", "other"), *run[1:], "--json")
    assert again.document["explained_now"] == 0
    refused = tiny(f"{place}/none.jpg?token=hush4", "-o", tmp_path / "other")
    assert refused.code == 2
    assert "hush" not in refused.err


def test_a_reason_is_without_secrets() -> None:
    with pytest.raises(StorageError) as caught:
        read_bytes("http://me:hush@127.0.0.1:9/a.jpg?sig=hush")
    assert "hush" not in str(caught.value)


def test_a_short_answer_is_noticed_by_the_size_of_the_listing(
    memory: None, pictures: Path, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(pictures, "memory://in")
    fs = file_system("memory://in")
    (entry,) = Sources(["memory://in/dog.jpg"])
    whole, answers = (pictures / "dog.jpg").read_bytes(), [b"", (pictures / "dog.jpg").read_bytes()[:9]]
    monkeypatch.setattr(fs, "cat_file", lambda *_: answers.pop() if answers else whole)
    assert read(entry) == whole
    assert not answers
    fs.pipe_file("memory://in/dog.jpg", b"another one")
    monkeypatch.undo()
    assert read(entry) == b"another one"
