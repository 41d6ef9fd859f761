"""A real SLURM on this machine: munge, slurmctld and slurmd with fake GPUs, as root.

For the tests, and to try the cluster profile on one machine:
`python -m tests.slurm.cluster` starts it and stops it at Ctrl-C.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "scontrol")
PACKAGES = "slurmctld slurmd slurm-client munge"
CONFIG = Path("/etc/slurm")  # where srun inside a job looks: the jobstep plugin drops SLURM_CONF
MARK = "# Written by tests/slurm; its daemons: "
NUM_GPUS = 2

# More cores and memory than there are: the profile is tested as it is. Nothing binds or limits.
# A requeued job waits as long as a credential lives: 5 s here, 120 s where nothing is said.
SLURM_CONF = """{mark}{folder}
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldParameters=idle_on_node_suspend
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
MpiDefault=none
ReturnToService=2
MinJobAge=300
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=256000 Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES PriorityTier=5 PreemptMode=OFF
PartitionName=gpu Nodes={host} PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes={host} PriorityTier=9
"""

GRES_CONF = """AutoDetect=off
NodeName={host} Name=gpu Type=fake File={folder}/nvidia[0-{last}] Flags=nvidia_gpu_env
"""

CGROUP_CONF = """CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=no
"""


def why_not() -> str:
    """Return why no SLURM can be started here; empty if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        packages = f"apt-get install --no-install-recommends {PACKAGES}"
        return f"no {', '.join(absent)}; on Debian: {packages}"
    if os.geteuid() != 0:
        return "SLURM's daemons are started by root only"
    if (CONFIG / "slurm.conf").exists() and not _previous():
        return f"{CONFIG}/slurm.conf is that of another cluster"
    return ""


@dataclass
class Cluster:
    """A running SLURM of one node."""

    folder: Path

    def run(self, *command: str) -> str:
        """Run one of SLURM's commands, which must succeed."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def queue(self) -> list[str]:
        """Return the ids of the jobs that wait, run or end."""
        return self.run("squeue", "--noheader", "--format", "%i").split()

    def clear(self) -> None:
        """Cancel all jobs and wait until none is left."""
        for job in self.queue():
            self.run("scancel", job)
        wait_until(lambda: not self.queue(), "an empty queue", seconds=60)


def wait_until(condition: object, what: str, *, seconds: float = 30, step: float = 0.2) -> None:
    """Wait until a condition holds; fail and say what was waited for if it does not."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(step)


@contextmanager
def running_cluster(num_gpus: int = NUM_GPUS) -> Iterator[Cluster]:
    """Start a SLURM and stop it in the end; another such block on this machine waits for its turn.

    It is configured in /etc/slurm and keeps all else in a folder of its own below /tmp.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(Path(tempfile.gettempdir(), "slurm-tests.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        _stop_previous()
        folder = Path(tempfile.mkdtemp(prefix="slurm-tests-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _configure(folder, num_gpus)
        stack.callback(_remove_configuration)
        environment = {key: value for key, value in os.environ.items() if key[:5] != "SLURM"}
        for name, command in _daemons(folder):
            stack.callback(_stop, _start(name, command, folder, environment))
        cluster = Cluster(folder)
        wait_until(lambda: "idle" in _node_state(), "an idle node: see sinfo", seconds=30)
        try:
            yield cluster
        finally:
            cluster.clear()


def _configure(folder: Path, num_gpus: int) -> None:
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    for index in range(num_gpus):  # SLURM takes device nodes only: these are /dev/null's
        os.mknod(folder / f"nvidia{index}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    controller_port, node_port = _free_ports(2)
    values = {
        "mark": MARK,
        "folder": folder,
        "host": socket.gethostname().split(".")[0],
        "gpus": num_gpus,
        "last": num_gpus - 1,
        "controller_port": controller_port,
        "node_port": node_port,
    }
    CONFIG.mkdir(exist_ok=True)
    for name, text in (("slurm", SLURM_CONF), ("gres", GRES_CONF), ("cgroup", CGROUP_CONF)):
        (CONFIG / f"{name}.conf").write_text(text.format_map(values))


def _remove_configuration() -> None:
    for name in ("slurm", "gres", "cgroup"):
        (CONFIG / f"{name}.conf").unlink()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _daemons(folder: Path) -> list[tuple[str, list[str]]]:
    munge = ["munged", "--foreground", "--force", "--num-threads=2"]
    for option, name in (
        ("key-file", "munge.key"),
        ("socket", "munge.sock"),
        ("pid-file", "munged.pid"),
        ("log-file", "munged.log"),
        ("seed-file", "munged.seed"),
    ):
        munge.append(f"--{option}={folder / name}")
    return [("munged", munge), ("slurmctld", ["slurmctld", "-D"]), ("slurmd", ["slurmd", "-D"])]


def _start(
    name: str, command: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.out").open("wb") as output:
        daemon = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    (folder / f"{name}.started").write_text(str(daemon.pid))
    if name == "munged":
        wait_until((folder / "munge.sock").exists, "munge's socket")
    return daemon


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _node_state() -> str:
    done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, timeout=60)
    return done.stdout


def _previous() -> Path | None:
    """Return the folder of a cluster that was not stopped, by its configuration."""
    file = CONFIG / "slurm.conf"
    first = file.read_text().partition("\n")[0] if file.exists() else ""
    return Path(first.removeprefix(MARK)) if first.startswith(MARK) else None


def _stop_previous() -> None:
    """End the daemons of a test run that was killed: those it noted, if they still are what they were."""
    folder = _previous()
    if folder is None:
        return
    for note in folder.glob("*.started"):
        pid = int(note.read_text())
        program = Path(f"/proc/{pid}/comm")
        if program.exists() and program.read_text().strip() == note.stem:
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(reason)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores the first
        signal.signal(number, signal.default_int_handler)
    with running_cluster() as running:
        print(
            f"SLURM runs with {NUM_GPUS} fake GPUs, logs in {running.folder}; Ctrl-C or kill {os.getpid()} stops it"
        )
        with suppress(KeyboardInterrupt):
            signal.pause()
