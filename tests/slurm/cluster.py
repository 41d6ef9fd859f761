"""A real SLURM on this machine: munge, slurmctld and slurmd with fake GPUs, as root.

With accounting also slurmdbd and a MariaDB of its own. For the tests, and to try the cluster
profile on one machine: `python -m tests.slurm.cluster` starts it and stops it at Ctrl-C, and
`python -m tests.slurm.cluster accounting` one with accounting.
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
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "scontrol")
PACKAGES = "slurmctld slurmd slurm-client munge"
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr", "sacct")
ACCOUNTING_PACKAGES = "slurmdbd mariadb-server"
CONFIG = Path("/etc/slurm")  # where srun inside a job looks: the jobstep plugin drops SLURM_CONF
MARK = "# Written by tests/slurm; its daemons: "
NUM_GPUS = 2
SPARE = "spare"  # a second node, down until a test starts it
ACCOUNT = "lab"
PORTS = ("controller_port", "node_port", "spare_port", "database_port")

# More cores and memory than there are: the profile is tested as it is. Nothing binds or limits.
# A requeued job waits as long as a credential lives: 5 s here, 120 s where nothing is said.
SLURM_CONF = """{mark}{folder}
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldParameters=idle_on_node_suspend
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
{accounting}
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
SlurmdTimeout={lost_after}
NodeName=DEFAULT CPUs=64 RealMemory=256000 Gres=gpu:fake:{gpus}
NodeName={host} NodeAddr=127.0.0.1 Port={node_port} State=UNKNOWN
NodeName={spare} NodeHostname={host} NodeAddr=127.0.0.1 Port={spare_port} State=DOWN
PartitionName=cpu Nodes={host},{spare} Default=YES PriorityTier=5 PreemptMode=OFF
PartitionName=gpu Nodes={host},{spare} PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes={host},{spare} PriorityTier=9
"""

NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
ACCOUNTING = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database_port}
AccountingStoragePass={folder}/munge.sock
AccountingStorageEnforce=associations,limits"""

# Not in /etc/slurm: only slurmdbd reads it.
SLURMDBD_CONF = """AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_port}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
"""

GRES_CONF = """AutoDetect=off
NodeName={host},{spare} Name=gpu Type=fake File={folder}/nvidia[0-{last}] Flags=nvidia_gpu_env
"""

CGROUP_CONF = """CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=no
"""


def why_not(*, accounting: bool = False) -> str:
    """Return why no SLURM, or none with accounting, can be started here; empty if one can."""
    programs, packages = PROGRAMS, PACKAGES
    if accounting:
        programs, packages = PROGRAMS + ACCOUNTING_PROGRAMS, f"{PACKAGES} {ACCOUNTING_PACKAGES}"
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        install = f"apt-get install --no-install-recommends {packages}"
        return f"no {', '.join(absent)}; on Debian: {install}"
    if os.geteuid() != 0:
        return "SLURM's daemons are started by root only"
    if (CONFIG / "slurm.conf").exists() and not _previous():
        return f"{CONFIG}/slurm.conf is that of another cluster"
    return ""


@dataclass
class Cluster:
    """A running SLURM of one node, and of a spare one that can be started.

    Attributes:
        folder: of its logs and of all it keeps.
        daemons: by their names, with a node's name behind slurmd.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

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

    def start(self, name: str, *command: str, **variables: str) -> None:
        """Start a daemon that stays in the foreground and logs into the folder."""
        environment = {key: value for key, value in os.environ.items() if key[:5] != "SLURM"}
        with (self.folder / f"{name}.out").open("wb") as output:
            daemon = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=environment | variables,
                start_new_session=True,
            )
        (self.folder / f"{name}.started").write_text(f"{daemon.pid} {command[0]}")
        self.daemons[name] = daemon

    def start_node(self, node: str) -> None:
        """Start a node and wait until jobs can run on it."""
        self.start(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        wait_until(lambda: self.node_state(node) == "idle", f"node {node}: see sinfo")

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon, its jobs' daemons and all below them, as a power cut does.

        Only one node may be up: the daemons of jobs do not say whose they are.
        """
        daemon = self.daemons.pop(f"slurmd-{node}")
        daemon.kill()
        daemon.wait()
        while pids := _below("slurmstepd"):
            for pid in pids:  # parents first: none sees its child die
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def node_state(self, node: str) -> str:
        """Return idle, mixed, down, ... and a star where it does not respond."""
        command = ["sinfo", "--noheader", "--nodes", node, "--format", "%T"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return " ".join(set(done.stdout.split()))

    def stop(self) -> None:
        """End all daemons, the last one first."""
        while self.daemons:
            _, daemon = self.daemons.popitem()
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def wait_until(condition: object, what: str, *, seconds: float = 30, step: float = 0.2) -> None:
    """Wait until a condition holds; fail and say what was waited for if it does not."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(step)


@contextmanager
def running_cluster(
    num_gpus: int = NUM_GPUS, *, accounting: bool = False, lost_after: int = 300
) -> Iterator[Cluster]:
    """Start a SLURM and stop it in the end; another such block on this machine waits for its turn.

    It is configured in /etc/slurm and keeps all else in a folder of its own below /tmp.

    Args:
        num_gpus: of each node.
        accounting: whether jobs need an account; there is one, `lab`.
        lost_after: seconds after which a node that does not respond is down.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(Path(tempfile.gettempdir(), "slurm-tests.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        _stop_previous()
        cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-tests-")))
        stack.callback(shutil.rmtree, cluster.folder, ignore_errors=True)
        _configure(cluster.folder, num_gpus, accounting, lost_after)
        stack.callback(_remove_configuration)
        stack.callback(cluster.stop)
        _start_munge(cluster)
        if accounting:
            _start_accounting(cluster)
        cluster.start("slurmctld", "slurmctld", "-D")
        cluster.start_node(host())
        try:
            yield cluster
        finally:
            cluster.clear()


def host() -> str:
    """Return the name of the first node."""
    return socket.gethostname().split(".")[0]


def _configure(folder: Path, num_gpus: int, accounting: bool, lost_after: int) -> None:
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    for index in range(num_gpus):  # SLURM takes device nodes only: these are /dev/null's
        os.mknod(folder / f"nvidia{index}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    values = {
        "mark": MARK,
        "folder": folder,
        "host": host(),
        "spare": SPARE,
        "gpus": num_gpus,
        "last": num_gpus - 1,
        "lost_after": lost_after,
        **dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)),
    }
    values["accounting"] = (ACCOUNTING if accounting else NO_ACCOUNTING).format_map(values)
    CONFIG.mkdir(exist_ok=True)
    for name, text in (("slurm", SLURM_CONF), ("gres", GRES_CONF), ("cgroup", CGROUP_CONF)):
        (CONFIG / f"{name}.conf").write_text(text.format_map(values))
    (folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format_map(values))
    (folder / "slurmdbd.conf").chmod(0o600)


def _remove_configuration() -> None:
    for name in ("slurm", "gres", "cgroup"):
        (CONFIG / f"{name}.conf").unlink()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _below(name: str) -> list[int]:
    """Return the processes of that name and all that come from them, parents first."""
    alive = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            own, _, rest = file.read_text().rpartition(")")  # 7 (slurmstepd) S 1 ...
            state, parent = rest.split()[:2]
            if state != "Z":
                alive.append((int(file.parent.name), int(parent), own.partition("(")[2]))
    found = [pid for pid, _, program in alive if program == name]
    for pid in found:  # grows as it goes
        found += [child for child, parent, _ in alive if parent == pid and child not in found]
    return found


def _start_munge(cluster: Cluster) -> None:
    command = ["munged", "--foreground", "--force", "--num-threads=2"]
    for option, name in (
        ("key-file", "munge.key"),
        ("socket", "munge.sock"),
        ("pid-file", "munged.pid"),
        ("log-file", "munged.log"),
        ("seed-file", "munged.seed"),
    ):
        command.append(f"--{option}={cluster.folder / name}")
    cluster.start("munged", *command)
    wait_until((cluster.folder / "munge.sock").exists, "munge's socket")


def _start_accounting(cluster: Cluster) -> None:
    """Start a database with a socket in the folder only, and slurmdbd; add the account."""
    database, socket_file = cluster.folder / "database", cluster.folder / "mariadb.sock"
    options = ("--no-defaults", "--user=root", f"--datadir={database}")
    cluster.run("mariadb-install-db", *options, "--skip-test-db")
    small = ("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0")
    options += (f"--socket={socket_file}", f"--pid-file={cluster.folder / 'mariadbd.pid'}", *small)
    cluster.start("mariadbd", "mariadbd", *options, "--skip-networking")
    wait_until(socket_file.exists, "MariaDB's socket", seconds=60)
    places = {"SLURM_CONF": str(cluster.folder / "slurm.conf"), "MYSQL_UNIX_PORT": str(socket_file)}
    cluster.start("slurmdbd", "slurmdbd", "-D", **places)
    wait_until(_database_answers, "slurmdbd", seconds=60)
    cluster.run("sacctmgr", "--immediate", "add", "cluster", "tests")
    cluster.run("sacctmgr", "--immediate", "add", "account", ACCOUNT, "cluster=tests")
    cluster.run("sacctmgr", "--immediate", "add", "user", "root", f"account={ACCOUNT}")


def _database_answers() -> bool:
    command = ["sacctmgr", "--noheader", "list", "cluster"]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


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
        pid, name = note.read_text().split()
        program = Path(f"/proc/{pid}/comm")
        if program.exists() and program.read_text().strip() == name:
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with_accounting = sys.argv[1:] == ["accounting"]
    if reason := why_not(accounting=with_accounting):
        sys.exit(reason)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores the first
        signal.signal(number, signal.default_int_handler)
    with running_cluster(accounting=with_accounting) as running:
        print(
            f"SLURM runs with {NUM_GPUS} fake GPUs, logs in {running.folder}; Ctrl-C or kill {os.getpid()} stops it"
        )
        with suppress(KeyboardInterrupt):
            signal.pause()
