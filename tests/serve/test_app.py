"""Answers over HTTP: those of `predict`, to the last bit, for bounded questions alone."""

import asyncio
import io
import json
import multiprocessing
import os
import signal
import socket
import threading
import zipfile

import numpy as np
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from dualhead.cli import main as cli
from dualhead.runs.answers import Output
from dualhead.runs.predict import predict
from dualhead.runs.recordings import Windows
from dualhead.serve.app import HOST, _body, make_app
from dualhead.serve.worker import Computing, Limits, Worker, _refuse_large, _work
from tests.builders.checkpoints import write_checkpoint

LIMITS = Limits(megabytes=0.2, seconds=120)
SAID = {"unit": "m", "layout": "kinect20"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two checkpoints and a recording."""
    folder = tmp_path_factory.mktemp("served")
    write_checkpoint(folder / "joint.pt")
    write_checkpoint(folder / "bone.pt", modality="bone", model="ms_g3d", seed=2)
    np.save(folder / "walk.npy", np.random.default_rng(4).normal(1, 0.3, (21, 20, 3)))
    return folder


@pytest.fixture(scope="module")
def worker(folder):
    worker = Worker(Computing((folder / "joint.pt", folder / "bone.pt"), "cpu"), LIMITS)
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def client(worker):
    return TestClient(make_app(worker, LIMITS))


def ask(client, content, name="walk.npy", **said):
    return client.post("/predict", params={"name": name, **SAID, **said}, content=content)


def refusal(response, code):
    """Return the one line of a refusal."""
    assert response.status_code == code, response.text
    (detail,) = response.json().values()
    assert isinstance(detail, str) and "\n" not in detail and "Traceback" not in detail
    return detail


@pytest.mark.parametrize("window", [0, 8])
def test_a_file_is_answered_for_as_predict_does_to_the_last_bit(client, folder, tmp_path, window):
    path = folder / "walk.npy"
    said = {"window": window, "stride": 5} if window else {}
    answered = ask(client, path.read_bytes(), **said)
    assert answered.status_code == 200, answered.text
    predict(
        [folder / "joint.pt", folder / "bone.pt"],
        [path],
        Output(tmp_path / "p.jsonl", is_json=True),
        device="cpu",
        recordings=SAID,
        windows=Windows(window, 5),
    )
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").open()]
    assert answered.json() == {"answers": rows}
    assert len(rows) == (4 if window else 1)


def test_a_zip_of_recordings_has_an_answer_each(client, folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("a.npy", "b.npy"):
            archive.write(folder / "walk.npy", name)
    answers = ask(client, packed.getvalue(), "both.zip").json()["answers"]
    assert [answer["name"] for answer in answers] == ["a", "b"]
    assert answers[0]["top5"] == answers[1]["top5"]


def test_what_is_no_recording_is_refused_in_one_line(client, folder):
    content = (folder / "walk.npy").read_bytes()
    assert "expected a recording" in refusal(ask(client, b""), 400)
    assert "found nothing" in refusal(ask(client, b""), 400)
    assert refusal(ask(client, b"{}", "walk.json"), 400).startswith("walk.json: ")
    assert "walk.npy" in refusal(ask(client, content[:200]), 400)
    assert "--unit" in refusal(client.post("/predict?name=a.npy", content=content), 400)
    for name in (
        "../walk.npy",
        "walk.exe",
        ".npy",
        "a/b.npy",
        "x" * 300 + ".npy",
        "é" * 99 + ".npy",
        "checkpoint.pt",
    ):
        assert "expected a file's name" in refusal(ask(client, content, name), 400)


@pytest.mark.parametrize(
    "said",
    [
        *({"unit": "miles"}, {"layout": "/etc/passwd"}, {"fps": "-1"}, {"window": "0"}),
        *(
            {"format": "x"},
            {"windows": "8"},
            {"stride": "2"},
            {"width": "640"},
            {"fps": ["1", "2"]},
        ),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(client, said):
    assert refusal(ask(client, b"x", **said), 422).startswith(f"{next(iter(said))}: ")


@pytest.mark.parametrize(
    "how",
    [
        {"files": {"file": ("walk.npy", b"x")}},
        {"content": b"x", "headers": {"content-encoding": "gzip"}},
    ],
)
def test_a_form_or_a_compressed_body_is_refused_by_what_it_is(client, how):
    response = client.post("/predict", params={"name": "walk.npy"}, **how)
    assert refusal(response, 415).startswith("expected the file as it is")


def test_a_sender_who_leaves_is_one_line():
    class Gone:
        async def stream(self):
            yield b"begun"
            raise ClientDisconnect

    with pytest.raises(HTTPException, match=r"400: .* its sender left"):
        asyncio.run(_body(Gone(), LIMITS))


def test_size_is_bounded_before_and_after_unpacking(client, tmp_path):
    assert "at most 0.2 MB" in refusal(ask(client, bytes(LIMITS.num_bytes + 1)), 413)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(5_000_000))
    assert path.stat().st_size < LIMITS.num_bytes
    assert "at most 4 MB" in refusal(ask(client, path.read_bytes(), "bomb.zip"), 400)
    with pytest.raises(ValueError, match="one by one"):
        _refuse_large(path, 10)


def test_a_body_that_does_not_end_is_given_up():
    class Slow:
        async def stream(self):
            yield b"begun"
            await asyncio.sleep(60)

    with pytest.raises(HTTPException, match=r"408: .* within 0\.01 seconds"):
        asyncio.run(_body(Slow(), Limits(1, 0.01)))


def test_the_networks_and_the_bounds_describe_themselves(client, worker):
    facts = client.get("/network").json()
    assert facts["modalities"] == ["joint", "bone"] and facts["classes"] == ["wave", "sit", "jump"]
    assert (facts["megabytes"], facts["seconds"], facts["layout"]) == (0.2, 120, "kinect20")


def test_the_page_asks_no_other_host(client):
    for path in ("/", "/docs"):
        page = client.get(path)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "connect-src 'self'" in policy
        assert "http:" not in page.text and "https:" not in page.text
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/network", "/predict"}
    parameters = described["paths"]["/predict"]["post"]["parameters"]
    assert {"name", "format", "layout", "unit", "fps", "window"} <= {
        one["name"] for one in parameters
    }


def test_a_question_to_another_host_is_refused(client):
    assert client.get("/network", headers={"Host": "example.org"}).status_code == 400


def test_a_checkpoint_that_is_none_is_refused_before_anything_is_served(folder):
    ours, its_own = multiprocessing.Pipe()
    _work(its_own, Computing((folder / "walk.npy",), "cpu"), 1)
    assert "walk.npy" in json.loads(ours.recv_bytes())["refused"]


def test_a_port_that_is_taken_is_one_line(folder, capsys):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", str(folder / "joint.pt"), "--port", str(port)]) == 1
    assert cli.main(["serve", str(folder / "joint.pt"), "--port", "70000"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "in use" in lines[0] and "at most 65535" in lines[1]


@pytest.mark.workflow  # it starts processes that load torch
def test_time_is_bounded_and_a_process_that_ends_is_said_and_replaced(
    client, worker, folder, monkeypatch
):
    content = (folder / "walk.npy").read_bytes()
    first = worker._process.pid
    monkeypatch.setattr(worker, "_limits", Limits(0.2, 0.0))
    late = ask(client, content)
    assert "no answer within 0 seconds" in refusal(late, 503) and late.headers["Retry-After"]
    monkeypatch.undo()
    assert ask(client, content).status_code == 200
    assert worker._process.pid != first
    os.kill(worker._process.pid, signal.SIGSTOP)  # so that it cannot have answered before
    threading.Timer(0.3, worker._process.kill).start()
    assert "failed" in refusal(ask(client, content), 500)
    assert worker._process is None
