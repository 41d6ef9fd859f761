import functools
import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import __main__ as command
from benchmarks import (
    card,
    contenders,
    counted,
    gpu,
    kernels,
    lane,
    network,
    preparation,
    processes,
    results,
    timing,
    workflow,
)
from benchmarks.contenders import Situation
from benchmarks.kernels import Kernel
from benchmarks.results import Findings, Report, Row, Target
from benchmarks.timing import Spread
from torch._subclasses.fake_tensor import FakeTensorMode

from dualhead.data.dataset import Prepared

MACHINE = {"processor": "one that counts on its fingers"}
RESULT, TARGET = Spread(3.1, 2.9, 3.3), Target("at least", 3.0)


@pytest.fixture
def torch_threads():
    """Leave torch the number of threads that it had."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def make_row(result=RESULT, target=TARGET, **others):
    return Row("network", "evaluation", "1 thread", result, "x", target, **others)


def test_contenders_take_turns_and_warm_ups_are_not_counted():
    calls = []
    contenders = {name: lambda name=name: calls.append(name) for name in "AB"}
    ticks = itertools.count()
    seconds = timing.take_turns(
        contenders, rounds=2, measure=timing.stopwatch(lambda: next(ticks)), warm_ups=1
    )
    assert list("ABABAB") == calls
    assert seconds == {"A": [1, 1], "B": [1, 1]}


def test_a_stopwatch_reads_its_clock_before_and_after_the_work():
    times = iter([10.0, 13.5])
    assert timing.stopwatch(lambda: next(times))(lambda: None) == 3.5


def test_a_spread_is_median_smallest_and_largest():
    assert Spread(2.5, 1, 9) == Spread.of([9, 2, 1, 3])
    assert Spread(5, 2, 18) == Spread.of([9, 2, 1, 3]).times(2)


def test_a_speedup_is_the_ratio_of_medians_with_the_range_over_the_rounds():
    # medians 20 and 5, rounds 10 / 5, 20 / 10 and 60 / 4
    assert Spread(4, 2, 15) == timing.speedup([10, 20, 60], [5, 10, 4])


@pytest.mark.parametrize(
    ("relation", "value", "expected"),
    [
        ("at least", 3.0, True),
        ("at least", 3.01, False),
        ("at most", 3.0, True),
        ("at most", 2.99, False),
    ],
)
def test_a_target_is_met_from_its_own_value_on(relation, value, expected):
    assert Target(relation, value).is_met(3.0) is expected


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (make_row(), "met"),
        (make_row(target=Target("at least", 3.2)), "**not met**"),
        (make_row(target=None), ""),
        (make_row(result=None), "not measured"),
    ],
)
def test_the_median_decides_on_the_verdict(row, verdict):
    assert verdict == row.verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (3.0, "3"), (999.4, "999"), (12345.6, "12,300"), (1e-15, "1e-15")],
)
def test_numbers_have_three_digits(value, text):
    assert text == results.number(value)


def test_a_table_has_a_line_for_each_row_and_a_range_only_where_there_is_one():
    row = make_row(ours=Spread(1, 1, 1), reference=Spread(3.1, 2.9, 3.3), base="s", note="equal")
    lines = results.table([row]).splitlines()
    assert len(lines) == 3
    assert lines[2] == (
        "| network: evaluation | 1 thread | 1 s | 3.1 s (2.9 to 3.3) | 3.1x (2.9 to 3.3) | "
        "at least 3x | met | equal |"
    )


def test_what_is_written_is_read_back(tmp_path):
    rows = [make_row(ours=Spread(1, 1, 1), base="s"), make_row(result=None, target=None)]
    report = Report(MACHINE, rows, ["A remark."])
    results.write(report, tmp_path)
    assert report == results.read(tmp_path / "bench.json")
    assert report.markdown() + "\n" == (tmp_path / "bench.md").read_text()


def test_only_the_marked_block_of_a_document_is_replaced():
    text = "before\n<!-- bench begin -->\nold\n<!-- bench end -->\nafter\n"
    expected = "before\n<!-- bench begin -->\n\nnew \\1\n\n<!-- bench end -->\nafter\n"
    assert expected == results.replace_block(text, "bench", "new \\1")
    assert expected == results.replace_block(expected, "bench", "new \\1")


def test_a_document_without_marks_is_refused(tmp_path, capsys):
    results.write(Report(MACHINE, [], []), tmp_path / "bench")
    docs = tmp_path / "performance.md"
    docs.write_text("no marks")
    assert command.main(["--docs", str(docs), "--output", str(tmp_path / "bench")]) == 1
    assert f"{docs}: expected the lines <!-- bench begin -->" in capsys.readouterr().err
    assert docs.read_text() == "no marks"


def test_the_documentation_has_a_block_for_the_table(root):
    text = (root / "docs" / "performance.md").read_text()
    assert results.replace_block(text, "bench", "new") != text


def test_a_section_that_has_ended_is_on_disk_before_the_next_begins(tmp_path, monkeypatch):
    seen = []

    def second(scale, folder):
        seen.extend(results.read(tmp_path / "bench.json").rows)
        return Findings([make_row(note="second")], ["A remark."])

    sections = {"first": lambda scale, folder: Findings([make_row()]), "second": second}
    monkeypatch.setattr(command, "SECTIONS", sections)
    report = command.measure(["first", "second"], command.QUICK, tmp_path)
    assert [make_row()] == seen
    assert [make_row(), make_row(note="second")] == report.rows
    assert results.read(tmp_path / "bench.json") == report


def test_a_part_of_a_section_is_on_disk_before_the_next_begins(tmp_path, monkeypatch):
    seen = []

    def parts(scale, folder):
        yield Findings([make_row(note="first")])
        seen.extend(results.read(tmp_path / "bench.json").rows)
        yield Findings([make_row(note="second")])

    monkeypatch.setattr(command, "SECTIONS", {"parts": parts})
    report = command.measure(["parts"], command.QUICK, tmp_path)
    assert [make_row(note="first")] == seen
    assert [make_row(note="first"), make_row(note="second")] == report.rows


def test_an_unknown_section_is_refused():
    with pytest.raises(SystemExit):
        command.parse(["--only", "everything"])


@pytest.mark.workflow  # it starts a process that loads torch and times products
def test_a_worker_returns_what_its_task_returns():
    found = processes.call("matmul_speed", {"threads": 1}, threads=1, malloc={})
    assert found.keys() == {"fp32", "bf16"}


def test_malloc_settings_of_the_caller_do_not_leak(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    environment = processes.environment(2, processes.TUNED_MALLOC)
    malloc = {key for key in environment if key.startswith("MALLOC_")}
    assert processes.TUNED_MALLOC.keys() == malloc
    assert environment["OMP_NUM_THREADS"] == "2"


def test_the_memory_of_a_command_includes_its_children():
    hold = "import time; held = bytearray(60_000_000); time.sleep(0.5)"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    assert processes.run([sys.executable, "-c", both], watched=True).peak_bytes > 60e6


def test_a_command_that_fails_is_an_error(capsys):
    with pytest.raises(processes.subprocess.CalledProcessError):
        processes.run([sys.executable, "-c", "raise SystemExit('no luck')"])
    assert "no luck" in capsys.readouterr().err


def test_products_that_are_added_in_place_are_counted():
    total, a, b = torch.ones(4, 6), torch.ones(4, 5), torch.ones(5, 6)
    with contenders.FlopCounterMode(display=False, custom_mapping=contenders.IN_PLACE) as counter:
        total.addmm_(a, b)
        torch.addmm(total, a, b)
    assert counter.get_total_flops() == 2 * (2 * 4 * 5 * 6)


def test_a_fifth_of_a_batch_has_a_second_body_and_each_loops():
    joints = contenders.make_batch(10, 300)
    assert joints.shape == (10, 3, 300, 25, 2)
    assert joints[..., 0].flatten(1).any(1).all()
    assert joints[..., 1].flatten(1).any(1).sum() == 2
    periods = [
        [n for n in range(40, 131) if torch.equal(sample[:, n:], sample[:, :-n])]
        for sample in joints
    ]
    assert all(periods)


@pytest.mark.usefixtures("torch_threads")
def test_every_contender_is_timed_in_every_pass_and_ours_is_the_reference_in_float64():
    situation = Situation(workspace="demo", samples=2, frames=8, rounds=2)
    found = contenders.time_passes(situation)
    for kind in situation.passes:
        assert {name: 2 for name in situation.contenders} == {
            name: len(seconds) for name, seconds in found[kind]["seconds"].items()
        }
    assert found["evaluation"]["apart"]["ours fp32"] < 1e-4
    assert max(contenders.compare(situation).values()) < 1e-12
    json.dumps(found)


def test_bf16_is_not_timed_where_the_processor_only_emulates_it(monkeypatch):
    monkeypatch.setattr(network, "_time", lambda *_: pytest.fail("timed"))
    rows = network._bf16("evaluation", command.QUICK, {"fp32": 90e9, "bf16": 1e9})
    assert {"not measured"} == {row.verdict for row in rows}
    assert [row.target.value for row in rows] == [5, 9]
    assert all("90 times as long" in row.note for row in rows)


def test_the_job_table_of_a_dry_run_is_read():
    output = "job      count\n-----  -------\ntrain      155\nreproduce_tables 1\ntotal      537\n"
    assert workflow.jobs_of(output) == {"train": 155, "reproduce_tables": 1, "total": 537}


def test_padding_for_the_comparison_loops_each_body(rng):
    body = rng.standard_normal((7, 25, 3)).astype(np.float32)
    joints = preparation.padded(Prepared((body,), 7, ()))
    assert joints.shape == (3, 300, 25, 2)
    assert not joints[..., 1].any()
    np.testing.assert_array_equal(joints[:, 299, :, 0], body[299 % 7].T)


def test_overlapping_jobs_are_counted_once():
    jobs = [workflow.Job(5, 9, 1), workflow.Job(0, 4, 1), workflow.Job(6, 7, 1)]
    assert workflow.covered([*jobs, workflow.Job(8, 11, 1)]) == 10


def test_what_is_not_a_job_is_what_the_workflow_adds():
    jobs = [workflow.Job(2, 6, 40.0), workflow.Job(4, 8, 60.0)]
    row = workflow.overhead_row(jobs, cpu=103.0, seconds=10.0)
    assert row.result == pytest.approx((3, 3, 3))
    assert row.verdict == "**not met**"
    assert "2 jobs in 10 s, in 4 of which none ran" in row.note


def test_a_job_takes_what_the_children_of_its_shell_took():
    note = "1.5 9.25\n0m0.000s 0m0.010s\n1m6.500s 0m0.250s\n"
    assert workflow.Job(1.5, 9.25, 66.75) == workflow.job_of(note)


def test_a_call_of_dualhead_is_noted(tmp_path):
    program = tmp_path / "program"
    busy = "python3 -c 'sum(range(20_000_000))'"
    program.write_text(workflow.NOTING.format(real=busy, notes=tmp_path))
    done = subprocess.run(["sh", str(program)], check=False)
    [note] = [path for path in tmp_path.iterdir() if path != program]
    job = workflow.job_of(note.read_text())
    assert done.returncode == 0
    assert job.end > job.begin
    assert job.cpu > 0.05


def recorded(work):
    with kernels.EagerKernels() as mode:
        work()
    return [(kernel.name, kernel.moved, kernel.flop) for kernel in mode.kernels]


def test_an_operator_reads_its_inputs_and_writes_its_output():
    x, y = torch.ones(5, 6), torch.ones(6, 7)
    assert recorded(lambda: x @ y) == [("mm", 4 * (30 + 42 + 35), 2 * 5 * 6 * 7)]
    assert recorded(lambda: x.t().reshape(3, 10)) == [("clone", 4 * 60, 0)]
    assert recorded(lambda: x.view(30).narrow(0, 1, 8)) == []


def test_what_is_changed_in_place_is_read_and_written():
    x, y = torch.ones(8), torch.ones(8)
    assert recorded(lambda: x.add_(y)) == [("add_", 4 * 24, 0)]
    assert recorded(lambda: x.copy_(y)) == [("copy_", 4 * 16, 0)]
    assert recorded(lambda: torch.mul(y, 2, out=x)) == [("mul", 4 * 16, 0)]


def test_an_axis_that_is_only_repeated_is_read_once():
    x, y = torch.ones(8), torch.ones(5, 8)
    assert recorded(lambda: y + x.expand(5, 8)) == [("add", 4 * (40 + 8 + 40), 0)]


def test_saved_bytes_are_those_that_the_step_made():
    weight, x = torch.ones(6, 6, requires_grad=True), torch.ones(5, 6)
    with kernels.SavedBytes([weight, x]) as saved:
        (x @ weight).exp().sum()  # saves x, weight and what exp returns
    assert saved.total == 4 * 30


def test_computed_times_take_the_longer_of_moving_and_multiplying():
    gpu_ = kernels.Gpu("one", 1e12)
    moving, multiplying = Kernel("a", 85 * 10**9, 0), Kernel("b", 10**9, 45 * 10**12)
    assert kernels.bound([moving, multiplying], gpu_) == pytest.approx(0.086)
    assert kernels.expected([moving, multiplying], gpu_) == pytest.approx(0.1 + 0.1)


COUNT = counted.Count(
    80, [Kernel("mm", 48 * 10**8, 6 * 10**12), Kernel("add", 10, 0)], 160, 1, 0, 2
)


def test_the_counted_table_has_the_numbers_a_row_and_a_sample():
    last = counted.table({"ours": COUNT}).splitlines()[-1]
    assert last.startswith("| ours | 80 | 2 | 1 | 60 | 75 | 5 | 0 | 6.0 | 1, 0, 2 | 1, 13 ms |")


def test_each_target_of_the_count_has_a_row_and_none_is_met_by_what_was_not_counted():
    authors = COUNT._replace(rows=128)
    rows = counted.rows_of({counted.AUTHORS: authors, counted.OURS: COUNT})
    assert [(row.result.median, row.target.value) for row in rows] == [
        (2, 800),
        (2, 650),
        (pytest.approx(60), 1350),
        (pytest.approx(60), 1120),
    ]
    assert {"not measured"} == {row.verdict for row in counted.rows_of({counted.AUTHORS: authors})}


def test_a_network_without_values_is_counted_like_one_with_them():
    layer = torch.nn.Linear(4, 3)
    with FakeTensorMode():
        kernels.fake_copy(layer)
        fake = recorded(lambda: layer(torch.empty(5, 4)).sum().backward())
    layer = torch.nn.Linear(4, 3)
    x = torch.ones(5, 4)
    real = recorded(lambda: layer(x).sum().backward())
    assert [name for name, *_ in real] == [name for name, *_ in fake]
    assert real == fake


def test_without_a_gpu_the_visit_says_so_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    [found] = gpu.measure(command.QUICK, tmp_path)
    assert found.rows == []
    assert found.remarks == ["GPU: not measured, because torch sees no CUDA device here."]


class Slow:
    """A section that fails at its first call, as the memory of a card that is full."""

    def __init__(self):
        self.calls = 0

    def find(self):
        self.calls += 1
        if self.calls == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return Findings([make_row(note="at the second try")])


def test_a_lane_goes_on_after_a_section_that_fails_and_tries_again_what_found_no_memory(tmp_path):
    def fails():
        raise RuntimeError("no such kernel\nand more")

    kind = lane.Lane("training", "bf16")
    sections = [
        lane.Section("full", Slow().find, alone=False),
        lane.Section("fails", fails, alone=False),
        lane.Section("works", lambda: Findings([make_row()]), alone=False),
    ]
    lane.run_sections(kind, sections, tmp_path)
    failed, *others = gpu.new_findings(tmp_path, set())
    assert failed.remarks == ["training, bf16: fails: not measured: RuntimeError: no such kernel"]
    assert [make_row(), make_row(note="at the second try")] == [found.rows[0] for found in others]


def test_who_holds_the_card_stops_the_others_and_is_ended_when_he_holds_it_for_too_long(tmp_path):
    def state_of(process):
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0]

    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    card.register(tmp_path, other.pid)
    try:
        with card.hold(tmp_path):
            assert state_of(other) == "T"
        assert state_of(other) != "T"
        holding = (
            "import sys, time; from pathlib import Path; from benchmarks import card\n"
            "with card.hold(Path(sys.argv[1]), 0.5): time.sleep(60)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", holding, str(tmp_path)], cwd=processes.ROOT, check=False
        )
        assert -signal.SIGALRM == ended.returncode
        assert state_of(other) == "T"
        card.send([other.pid], signal.SIGCONT)
        with card.hold(tmp_path):  # the lock went with the process
            pass
        assert state_of(other) != "T"
    finally:
        card.send([other.pid], signal.SIGKILL)
        other.wait()


def test_a_visit_reports_a_lane_that_ends_badly_and_one_that_is_cut_short(tmp_path, monkeypatch):
    """Take a shell's process for a lane's; the network's are in the next test."""
    scripts = {"one": "echo 'no luck'; exit 3", "two": "sleep 60", "three": "exit 0"}

    def start(kind, situation, folder, priority):
        with gpu._log(kind, folder).open("wb") as log:
            command = ["sh", "-c", scripts[kind.kind]]
            process = subprocess.Popen(command, stdout=log, start_new_session=True)
        card.register(folder, process.pid)
        return process

    monkeypatch.setattr(gpu, "start", start)
    lanes = [lane.Lane(name, "fp32") for name in scripts]
    found = [
        remark for part in gpu.visit(lanes, Situation(), tmp_path, 1) for remark in part.remarks
    ]
    assert found == [
        "one, fp32: ended with 3; last: ['no luck']",
        "two, fp32: cut short, because the time was up.",
    ]


@pytest.mark.workflow  # two processes that load torch, and a network
def test_a_visit_of_a_cpu_measures_both_passes_of_a_small_network_and_its_exactness(tmp_path):
    small = Situation(
        workspace="demo", samples=2, frames=8, clock="wall", contenders=("reference", "eager")
    )
    lanes = [lane.Lane(*words) for words in (("training", "fp32"), ("exactness", "fp64"))]
    found = list(gpu.visit(lanes, small, tmp_path, 100))
    rows = {row.what: row for part in found for row in part.rows}
    remarks = [remark for part in found for remark in part.remarks]
    assert rows["difference from the reference in float64"].verdict == "met"
    assert rows["logits of training step, eager, fp32, 2 samples"].verdict == "met"
    assert rows["gradients of training step, eager, fp32, 2 samples"].verdict == "met"
    assert rows["training step, eager, fp32, 2 samples"].result.median > 0
    assert any("kernels take" in remark for remark in remarks)
    assert not [remark for remark in remarks if "not measured" in remark or "ended" in remark]


def test_a_load_counts_where_its_mask_lets_it_read():
    from benchmarks import masks  # seconds
    from torch._inductor.virtualized import ops
    from torch.utils._sympy.functions import FloorDiv, ModularIndexing

    def below(index, bound):
        known = ops.index_expr(index, torch.int64)
        return ops.lt(known, ops.index_expr(bound, torch.int64))

    def body(points):
        row, channel, point = points
        merged = ModularIndexing(point, 1, 96)
        everywhere = 96 * row + channel
        both = ops.and_(below(channel, 64), below(-channel, -47))
        by_value = ops.gt(ops.load("data", row), ops.constant(0.5, torch.float32))
        for name, mask, index in (
            ("slice", below(channel, 16), everywhere),
            ("both", both, everywhere),
            ("ends", below(channel, 16), everywhere),
            ("ends", below(-channel, -79), everywhere),
            ("row", below(channel, 16), row),
            ("merged", below(merged, 24), 96 * FloorDiv(point, 96) + merged),
            ("by value", by_value, everywhere),
            ("twice", below(channel, 16), everywhere),
        ):
            ops.masked(mask, functools.partial(ops.load, name, index), 0.0)
        ops.load("twice", everywhere)

    shares, _ = masks.read_shares(body, [[10, 96, 960]])
    assert {name: share for (name, _), share in shares.items()} == {
        "slice": 16 / 96,
        "both": 16 / 96,
        "ends": 32 / 96,
        "row": 1,  # has a channel at which it is read
        "merged": 24 / 96,
        "by value": 1,  # which nobody knows
        "twice": 1,
        "data": 1,
    }


def test_without_triton_the_compiled_rows_are_left_out_with_a_remark(tmp_path, monkeypatch):
    monkeypatch.setattr(counted.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(counted, "call_count", lambda contender: COUNT)
    found = counted.measure(command.QUICK, tmp_path)
    assert found.remarks[0].count("\n| ") == 1 + 3  # a rule, the reference twice, ours not compiled
    assert (
        sum("not counted, because Triton is not installed" in text for text in found.remarks) == 1
    )
    assert {"not measured"} == {row.verdict for row in found.rows}
