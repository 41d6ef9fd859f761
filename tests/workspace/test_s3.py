"""Results through a server that speaks S3, on this machine."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.builders.workspaces import BIN, Workspace, make_workspace
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.workflow

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server with an empty bucket."""
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with subprocess.Popen(
        [BIN / "moto_server", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_until(lambda: answers(port), "moto_server", seconds=60)
            url = f"http://127.0.0.1:{port}"
            urlopen(Request(f"{url}/results", method="PUT")).close()
            yield url
        finally:
            server.terminate()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_results_pushed_to_s3_are_pulled_by_a_clone_that_trains_nothing(
    endpoint: str, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path)
    workspace.edit("streams: [joint, bone, two_stream]", "streams: [joint]")
    clone = Workspace(tmp_path / "clone", workspace.bin)
    for place, *command in (
        (workspace, "git", "init", "--quiet", "--initial-branch", "main"),
        (workspace, "dvc", "remote", "add", "--default", "colleagues", "s3://results/dualhead"),
        (workspace, "dvc", "remote", "modify", "colleagues", "endpointurl", endpoint),
        (workspace, "dvc", "repro"),
        (workspace, "git", "add", "."),
        (workspace, "git", "commit", "--quiet", "--message", "Results"),
        (workspace, "dvc", "push"),
        (workspace, "git", "clone", "--quiet", ".", str(clone.folder)),
        (clone, "dvc", "pull"),
    ):
        done = place.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    made = [path for path in workspace.folder.glob("results/r*/**/*") if path.is_file()]
    assert made
    for path in made:
        if path.name != "state.pt":
            assert (clone.folder / path.relative_to(workspace.folder)).read_bytes() == (
                path.read_bytes()
            )
    assert clone.calls_of("dvc", "repro") == {}
