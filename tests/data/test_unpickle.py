"""Pickles of other people: arrays, mappings, lists, texts and numbers are read, and nothing else is ever called."""

import os
import pickle
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest

from dualhead.data.prepared_arrays.unpickle import NAMES, ArrayOf, read_pickle
from tests.builders.damage import mutants

CONTENT = {"a": [1, -2, 3.5, None, True], "text": "ä", "nested": ({"b": (1, 2)}, b"bytes")}
ARRAYS = [
    np.arange(24, dtype=np.float16).reshape(1, 4, 2, 3),
    np.arange(6, dtype=">f4").reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    np.zeros((0, 5), np.int64),
]


def write(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_content_is_read_as_python_reads_it(tmp_path, protocol):
    found = read_pickle(write(tmp_path, pickle.dumps(CONTENT, protocol)))
    assert found == CONTENT


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("spelling", ["numpy.core", "numpy._core"])
def test_arrays_are_read_in_both_spellings_of_numpy(tmp_path, protocol, spelling):
    content = pickle.dumps({"arrays": ARRAYS, "label": np.int64(7)}, protocol)
    other = {"numpy.core": "numpy._core", "numpy._core": "numpy.core"}[spelling]
    content = respelled(content, other, spelling)
    found = read_pickle(write(tmp_path, content))
    assert found["label"] == 7
    for array, one in zip(ARRAYS, found["arrays"], strict=True):
        assert isinstance(one, ArrayOf)
        assert (one.array.dtype, one.array.shape) == (array.dtype, array.shape)
        assert np.array_equal(one.array, array)


def respelled(content: bytes, old: str, new: str) -> bytes:
    """Rename NumPy's modules in a pickle, lengths of texts included."""
    for module in (f"{old}.multiarray", f"{old}.numeric"):
        changed = module.replace(old, new)
        short = b"\x8c" + bytes([len(module)]) + module.encode()
        content = content.replace(short, b"\x8c" + bytes([len(changed)]) + changed.encode())
        content = content.replace(b"c" + module.encode() + b"\n", b"c" + changed.encode() + b"\n")
    at = 2  # of a frame's length, which has changed
    if content[at : at + 1] == b"\x95":
        content = content[:at] + content[at + 9 :]
    return content


class Calls:
    """Object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


EVIL = {
    "os.system": Calls(os.system, "touch {mark}"),
    "eval": Calls(eval, "open('{mark}', 'w')"),
    "exec": Calls(exec, "open('{mark}', 'w')"),
    "open": Calls(open, "{mark}", "w"),
    "subprocess": Calls(subprocess.check_output, ["touch", "{mark}"]),
    "getattr": Calls(getattr, "x", "upper"),
    "numpy.load": Calls(np.load, "{mark}"),
    "numpy.save": Calls(np.save, "{mark}", "x"),
    "numpy.zeros": Calls(np.zeros, 10**12),
    "numpy.fromfile": Calls(np.fromfile, "/etc/passwd"),
    "collections": OrderedDict(a=1),
    "a set": {1, 2},
    "a complex number": 1j,
    "objects in an array": np.array([{}, []], object),
    "a type with fields": np.zeros(2, [("a", "f4")]),
    "a type that is large": np.zeros(1, "V100"),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", EVIL)
def test_what_could_run_is_refused_and_nothing_runs(tmp_path, monkeypatch, name, protocol):
    mark = tmp_path / "mark.npy"
    content = pickle.dumps([1, {"a": EVIL[name]}], protocol)
    content = content.replace(b"{mark}", os.fsencode(mark)[-6:])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected a pickle of arrays") as error:
        read_pickle(write(tmp_path, content))
    assert "\n" not in str(error.value)
    assert {item.name for item in tmp_path.iterdir()} == {"x.pkl"}


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01bt"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
RAW = {
    "a persistent id": b"\x80\x04X\x01\x00\x00\x00aQ.",
    "an extension": b"\x80\x04\x82\x01.",
    "a new object": b"\x80\x04cnumpy\ndtype\n)\x81.",
    "an instance": b"\x80\x02(cos\nsystem\no.",
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "text for a call": b"\x80\x04X\x01\x00\x00\x00a)R.",
    "ndarray called": b"\x80\x04cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
    "an array of other type": b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85C\x01btR.",
    "a shape of 4 TB": b"\x80\x04"
    + ARRAY
    + b"R(K\x01\x8a\x05\x00\x00\x00\x00\x01\x85"
    + DTYPE
    + b"\x89C\x04abcdtb.",
    "a negative shape": b"\x80\x04"
    + ARRAY
    + b"R(K\x01J\xff\xff\xff\xff\x85"
    + DTYPE
    + b"\x89C\x04abcdtb.",
    "bytes beyond the file": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",
    "an array of bytes beyond the file": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.",
    "text beyond the file": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x0f.",
    "a frame beyond the file": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x0fN.",
    "a note far off": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "a note that is not there": b"\x80\x04j\xff\xff\xff\x7f.",
    "tuples in tuples": b"\x80\x04)" + b"\x85" * 500_000 + b".",
    "a deep key": b"\x80\x04}" + b")" + b"\x85" * 100_000 + b"Ns.",
    "lists in lists": b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "marks alone": b"\x80\x04" + b"(" * 20_000 + b".",
    "nothing": b"",
    "no end": b"\x80\x04N",
    "an empty stack": b"\x80\x04R.",
}


@pytest.mark.parametrize("name", RAW)
def test_a_crafted_pickle_ends_in_one_line(tmp_path, name):
    with pytest.raises(ValueError, match=r"x\.pkl: expected a pickle of arrays") as error:
        read_pickle(write(tmp_path, RAW[name]))
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)


def test_what_a_name_stands_for_belongs_to_the_reader():
    for (module, name), function in NAMES.items():
        assert function is not getattr(sys.modules.get(module), name, None)
        assert getattr(function, "__module__", "").startswith("dualhead.") or isinstance(
            function, str
        )


def test_damaged_pickles_are_read_or_refused(tmp_path):
    content = pickle.dumps({"split": {"train": ["x"]}, "annotations": ARRAYS * 3}, 4)
    for what, damaged in mutants(content, 150, seed=3):
        try:
            read_pickle(write(tmp_path, damaged))
        except ValueError as error:
            assert "\n" not in str(error), what
