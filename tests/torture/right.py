"""Right ends of the scripts: what each must print, and what it must not."""

from __future__ import annotations

import re
from typing import NamedTuple

FAULTS = (r"Traceback", r"\b(Type|Attribute|Key|Runtime|Index)Error\b", r"fatal:")


class Right(NamedTuple):
    """What a script must print.

    Attributes:
        shows: patterns of lines that must be there.
        never: patterns that must not.
        allows: those of `FAULTS` that may be there: of the script's own Python, or of another program.
    """

    shows: tuple[str, ...]
    never: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()


def faults(right: Right, text: str) -> list[str]:
    """Return what is wrong with what a script printed."""
    absent = [it for it in right.shows if not re.search(it, text, re.M)]
    wrong = [it for it in FAULTS if it not in right.allows]
    found = [it for it in (*right.never, *wrong) if re.search(it, text, re.M)]
    return [f"not there: {it}" for it in absent] + [f"there: {it}" for it in found]


OWN = FAULTS[0]
"""The script's own Python shows what the package refuses, traceback and all."""
RIGHT: dict[str, Right] = {
    "w01-dry-run-beside-a-run": Right(
        (
            r"^dry run rc 0",
            r"^train +6",
            r"^first run rc 0",
            r"grid.json now holds \[[^,]+(,[^,]+){2}\]$",
            r"^rc 0$",
            r"Nothing to be",
        ),
    ),
    "w01b-dry-run-no-ensemble": Right(
        (r"^dry run rc 0", r"^train +3", r"^first run rc 0", r"^Nothing to be")
    ),
    "w01d-cluster-job-after-an-edit": Right(
        (
            r"(?s)(\w{32})  -\njob rc 0.*?\1  -",
            r"unedited, for comparison\njob rc 0",
            r"^checkpoint.pt$",
        ),
    ),
    "w02-clock": Right(
        (
            r"^THE NEW TITLE\.",
            r"(?s)new runs, old tables\?\nrc 0(.*\nJob \d+: Train){3}",
            r"^Job .*: Write reports/report.pdf",
            r"^epochs asked for: \{1\}",
            r"^1,0.05",
        ),
        (r"^2,0",),
    ),
    "w02b-touch": Right((r"^touch rc 0", r"^train +3$", r"^runs: 3 done")),
    "w03-dvc-links": Right(
        (
            r"(?s)(--- (hardlink|symlink): nothing edited\nrc 0\nNothing.*?only a table and the report "
            r"are to be made\nrc 0.*?repro\nrc 0.*?^Anew.*?){2}",
        ),
        (r"Exception",),
    ),
    "w03b-dvc-links-repro": Right(
        (
            r"(?s)(=== (hardlink|symlink|copy), a table's title: dvc repro rc 0\n"
            r".*?table4.md says: Anew\..*?up to date.*?){3}",
        )
    ),
    "w04-local-flock": Right(
        (
            r"same node\nrc 1\nLockException",
            r"a dry run\nrc 0\n(.*\n)?0.input.lock\n0.output.lock",
            r"for real\nrc 1 .*\nLockException",
            r"^first rc 0",
        ),
        (r"removed, going on",),
    ),
    "w05-no-locks": Right(
        (
            r"(?s)(=== E\w+: prepare\n.*?\ns.h5\n.*?checkpoint.pt\n.*?scores.h5\n.*?){3}",
            r"snakemake itself\nrc 0",
        ),
        (r"\[Errno",),
    ),
    "w06-odd-paths": Right(
        (
            r"(rc 0 : workspace inside: [^\n]+\n){11}",
            # What they extend does not lie there.
            r"(rc 1 : workspace outside: [^\n]+\n){2}--- with extends as an absolute path",
            r"(rc 0 : workspace outside: [^\n]+\n){2}(rc 0 : repository: [^\n]+\n){3}",
        ),
    ),
    "w06b-braces": Right((r"^The report", r"steps"), (r"WildcardError",)),
    "w07-other-dualhead": Right(
        (r"^calls that went to the other dualhead: $", r"dualhead on the PATH\nrc 0"),
        (r"^rc [1-9]",),
    ),
    "w08-two-users": Right(
        (
            r"(?s)status, explain, plan\n.*?runs: 3 done.*?plan rc [01]\n",
            r"may only read, and asks for other settings\nplan rc [01]",
            r"B goes on\nrc 0",
            r"^B rc 0\nA rc [01]",
        ),
    ),
    "w09-home": Right(
        (
            r"XDG_CACHE_HOME inside the workspace\nrc 0",
            r"(?s)dualhead alone\n.*?rc 0\n.*?\n\d+\.\d+\.\d+$",
        ),
        allows=FAULTS,
    ),
    "w10-disk-full": Right(
        (
            r"(?s)=== train, 64k.*?No space left.*?=== evaluate, 16k.*?No space left"
            r".*?=== prepare, 60k.*?No space left",
        )
    ),
    "w10b-disk-full-checkpoint": Right(
        (
            r"(?s)(=== train, 3\d00k.*?checkpoint.pt: No space left on device: the disk is full;"
            r".*?state.pt\n--- room made.*?"
            r"going on after 1.00 epochs\ncheckpoint.pt\n.*?){2}",
            r"(?s)(=== train, [45]\d00k.*?checkpoint.pt\n.*?){2}",
        ),
    ),
    "w12-mac": Right(
        (r"^same content under another name: 0", r"^fingerprint: \w{64}"), (r"^dualhead \w+:",)
    ),
    "w13-visible-devices": Right(
        (
            r"'NoDevFiles' -> \[\]",
            r"^'' -> \[\]",
            r"^'-1' -> \[\]",
            r"^'0,1' -> \['0', '1'\]",
            r"^'0,,1' -> \['0'\]",
            r"^'0,-1,1' -> \['0'\]",
            r"'MIG-GPU-8932f937/1/2' -> \['MIG-GPU-8932f937/1/2'\]",
            r"^'(void|none|all)' -> \[\]",
            r"4 cores: how many trainings at once\?\nrc 0\n(?s:.*?Job \d+: Train){3}",
            r"lock names\ntorch can use no GPU here",
        ),
    ),
    "w14-gloo": Right(
        (
            r"(?s)a name that nobody knows\n.*?rc 0\n.*?checkpoint.pt",
            r"(?s)loopback up\n.*?rc 0",
            r"(?s)TMPDIR that is gone\n.*?rc 0",
        )
    ),
    "w15-sighup": Right(
        (
            r"state.pt: saved in epoch \d+; the same command goes on",
            r"^--- the same command again\n.*left by a Snakemake that was killed; removed, going on",
        ),
        (r"LockExc",),
    ),
    "w16-report": Right(
        (
            r"README's line.*\nrc 1\nWorkflowError:\nFile reports/report.pdf marked for report but does not exist",
            r"while some of it is not made yet\nrc 1\n(.*\n){2}WorkflowError:\nFile results/tables/table4.csv marked",
            r"(?s)\.snakemake gone.*?\nrc 0\n.*?Report created\.\n.*?a zip\nrc 0",
            r"(?s)(rc 0 : -.*?){32}",
            r"^4$",
        ),
        (r"^rc [1-9]\d* : --(?!lint|cleanup-metadata)",),
    ),
    "w17-configfile": Right(
        (
            r"\A(.*\n)?rc 0\ntrain +1\n",
            r"over2.yaml:1: expected changes of params.yaml, found `extends`",
            r"^0 that nothing in params.yaml asks for",
            r"seeds=\[3\]",
            r"^rc 1 : --config seeds=3 : .*found 3",
            r"^rc 0 : --config seeds=\[3\]",
            r"^rc 1 : --config tables=.*the setting 'kind' is missing",
            r"^rc 1 : .*min_max: yes\} : .*found 'yes'",
            r"^rc 0 : .*min_max: True",
        ),
        allows=(OWN,),
    ),
    "w19-worktree": Right((r"^Nothing", r"^exp run rc 0", r"^Anew\.", r"commit noted: '\w+")),
    "w20-queue-prepare": Right(
        (
            r"^repro rc 0",
            r"another max_bodies\nrc 0",
            r"another learning rate\nrc 0",
            r"another normalization\nrc 255\nRaw data is missing; nothing was started\."
            r"\nsynthetic: no /.*/data/raw/mine",
        ),
    ),
    "w21-dvc-checkout": Right(
        (
            r"^trained: rc 0\n(\d+)\n=== dvc checkout\n(.*\n)*?"
            r"\1\n(\d+)\n=== dvc pull\n(.*\n)*?\3\n=== dvc checkout --force",
        ),
    ),
    "w22-venv": Right(
        (
            r"^Python 3.11 or newer is needed: make PYTHON=python3.12 install\nmake: .*\nrc 2\nls: cannot access",
            r"again with 3.12: .*\nvenv rc 0\n(.*\n)*Python 3.12.1",
        ),
    ),
    "w23-other-pythons": Right((r"(?s)=== 3.12.1\n.*?rc 0\n.*?=== 3.13.0\n.*?rc 0",)),
    "w24-ulimits": Right(
        (
            r"(?s)(=== ulimit -n (256|64)\nsnakemake rc 0.*?){2}",
            r"(?s)=== ulimit -f .*?dualhead train: .*?File too large: it may not become so large",
            r"(?s)(=== OMP_NUM_THREADS='[^']*'\n(libgomp[^\n]*\n)?epoch 1/1 .*?){6}",
        ),
    ),
    "w25-locale": Right(
        (
            r"([^\n]+: status 0 table 0 explain 0 [^\n]*\n){9}",
            r"output ASCII\nrc 0",
            r"^rc 0 \(LC_ALL=C",
            r"pipe\n.*\nrc 141\nrc 141$",
        )
    ),
    "w26-special-characters": Right(
        (
            r"\\caption\{100 \\% of \\#1 \\& \\\$x\\_1\\\$ @chen2021 "
            r".*\\\{e\\\} \\textasciitilde\{\}f\\textasciicircum\{\}g",
            r"^rc 0 : = x",
            r"(rc 0 : [^\n]*\n(\\caption[^\n]*\n)?){10}=== the workspace",
            r"^(rc 0 : [^\n]*\n){4}=== names",
            r"^rc 1 : variant a/b : ",
            r"^rc 1 : variant \.\./x : ",
            r"^rc 1 : variant \. : ",
            r"(?s)(^rc 0 : variant (my variant|ü&%#|x,y) : .*?){3}",
        ),
        (r"\.\./x/",),
    ),
    "w27b-gc-after-a-plan": Right(
        (r"^0 that nothing in params.yaml asks for", r"^4$", r"^Nothing to be done")
    ),
    "w29-empty-json": Right(
        (
            r"(?s)=== metrics.json empty\n.*?snakemake rc 1\n[^\n]*metrics.json",
            r"(?s)=== grid.json empty\n[^\n]*3 done[^\n]*\n0 that",
            r"(?s)=== metrics.json cut\n.*?snakemake rc 1\n[^\n]*metrics.json",
            r"(?s)=== metrics.json holds a list\n.*?snakemake rc 1\n",
            r"(?s)=== state.pt empty beside nothing\nrc [01]",
        ),
    ),
    "w33-threads": Right((r"^CPU, 1 threads (\w+) .*\nCPU, 2 threads .*\nCPU, 1 threads \1 ",)),
    "w37-sigterm-snakemake": Right(
        (
            r"^Will exit after finishing currently running jobs",
            r"in the end rc 1\n(.*\n)*?.*/state.pt\n4\n",
            r"(?s)SIGINT: .*in the end rc 0.*\n6$",
        ),
    ),
    "w38-raw-changed": Right(
        (
            r"^made: rc 0",
            r"edited in place .*\nsnakemake rc 1 : dualhead verify",
            r"is replaced by cp -p .*\nsnakemake rc 1 : dualhead verify",
            r"^made from half: rc 0\nsnakemake rc 1 : dualhead verify",
            r"a new seed is trained on\nrc 1",
        ),
        (r"Job .*Train",),
    ),
    "w39-readme-literally": Right(
        (
            r"-n reproduce_tables\n  rc 0 .*\ntrain +31$",
            r"cores 8 reproduce_tables\n  rc 1 \| Kinetics-Skeleton: ",
            r"no /.*nturgbd_skeletons_s001",
            r"dualhead download .*\n  rc 0",
            r"explain table1/joint/ntu60_xsub\n  rc 0",
            r"status\n  rc 0 \| runs: 31 waiting",
            r"repro\n  rc 255 \| ERROR: failed to reproduce 'data'",
            r"slurm -n reproduce_tables\n  rc 0",
            r"nw_ucla -n reproduce_tables\n  rc 0",
            r"gc --remove\n  rc 0 \| 0 that",
            r"benchmarks --help\n  rc 0",
            r"mine --cores 1\n  rc 1 \| Kinetics",
            r"mine -n\n  rc 1 \| .*figures.benchmark: 'ntu60_xsub' is not defined",
            r"\(3, 300, 25, 2\) float32\n.*'fine': \(1, 3\)",
        ),
    ),
    "w41-shadowing": Right(
        (
            r"workspace and root: rc 0",
            r"packages behind: rc 0",
            r"packages in front: rc 0\nImportError: a stray typing.py$",
            r"(?s)(^Nothing.*?){2}",
            r"^PYTHONOPTIMIZE=2 rc 0",
            r"^PYTHONWARNINGS=error rc 0",
        ),
    ),
    "w42-nw-ucla-name": Right(
        (
            r"^nw_ucla: no /.*\nNW-UCLA: .*Put it at data/raw/nw_ucla.zip",
            r"as it says\n(?!nw_ucla: no )",
        ),
    ),
    "w44-two-commits": Right(
        (
            r"(?s)((copy|symlink|hardlink) second: Second\..*?first again: "
            r"(?!Second)[^\n]+\n  snakemake rc 0.*?back: Second\.\n  snakemake rc 0 .*?Second\..*?){3}",
        )
    ),
    "y02-dvc-small-float": Right((r"=== train.weight_decay=0.00001\nrc 0",)),
    "y02b": Right((r"^rc 0",)),
    "y03-list-elements": Right(
        (
            r"plan rc 1 .*params.yaml:5: train.milestones\[0\]: .*, found 40.0",
            r"found '40'$",
            r"random_scale: expected a list of 2",
            r"\[9e-1, 1.1\]\}\nplan rc 0 ",
            r"coarse_channels: expected a list of 3",
            r"coarse_channels\[0\]: expected a whole",
            r"fine_windows\[0\]: expected an odd number",
            r"\[null\]\}\nplan rc 1 .*milestones\[0\]: .*found nothing",
        ),
    ),
    "y10-late-words": Right(
        (
            r"metrics: top1 .*\nrc 1$",
            r"metrics: \[top3\]\nrc 1$",
            r"plan rc 1\n.*\n.*datasets.mine.kind: 'ntu61' is not defined",
            r"split: xsubb .*\nplan rc 1\nrc 1",
        ),
    ),
    "y13-root-checked-against-itself": Right(
        (
            r"^learning_rate: 1e-3: root rc 0 .*workspace rc 0",
            r"^a misspelt key .*root rc 1 .*:58: unknown .*workspace rc 1 .*:2: unknown",
            r"^a key misspelt: root rc 1 .*did you mean 'momentum'.*workspace rc 1",
            r"^epochs: eighty: root rc 1 .*:50: .*workspace rc 1",
            r"^a key removed: root rc 0",
            r"^protocol: author: root rc 1 .*workspace rc 1",
            r"^min_max: no .*root rc 1 .*workspace rc 1",
            r"^a misspelt section: root rc 1 .*did you mean 'train'",
            r"edited to 1e-3\nThis was a dry-run",
        ),
        (r"!! sed did nothing",),
    ),
    "y01-duplicate-keys": Right(
        (
            r"params.yaml:13: 'train' stands twice, first in line 2",
            r"^snakemake rc 1",
            r"dup.yaml:4: 'mine' stands twice, first in line 3",
        ),
        allows=(OWN,),
    ),
    "y05-empty-sections": Right(
        (r"(?s)(=== [^\n]+\nrc 1\n0\n[^\n]+\n\S+/y05/ws: params.yaml:2: [^\n]+\n){13}",)
    ),
    "y06-names": Right(
        (
            r"tables.table4.rows\[0\]: expected a name; write '1', in quotes",
            r"benchmarks\[0\]: expected a name; write '60', in quotes",
            r"dataset: expected a name; write '2024', in quotes",
            r"release: expected a whole number, 1 or more, found '2024-01-31'",
            r"temporal_attention: expected cross \| self \| none, found 'no'",
            r"(?s)benchmarks: \{on:.*?rc 0; tracebacks 0",
        ),
        (r"tracebacks [1-9]",),
        allows=(OWN,),
    ),
    "y07-encodings": Right(
        (
            r"^rc 0 : CRLF",
            r"^rc 0 : CR only",
            r"^rc 0 : UTF-8 with BOM",
            r"^rc 1 : UTF-16 LE with BOM : .*params.yaml: expected UTF-8, found UTF-16",
            r"^rc 1 : Latin-1 comment : .*params.yaml:1: expected UTF-8, found the byte 0xfc",
            r"^rc 1 : NUL : .*params.yaml:12: ",
            r"^rc 1 : no-break space",
            r"^rc 1 : conflict marks : .*params.yaml:13",
            r"^rc 1 : tab : .*params.yaml:13",
            r"^rc 1 : empty file : ",
            r"^rc 1 : only ---",
            r"^rc 1 : two documents : .*:12",
            r"^rc 1 : seeds .* found '1_0'",
            r"^rc 0 : anchor and merge key",
        ),
    ),
}
