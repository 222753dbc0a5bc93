"""Tests that the stand-in device behaves like a card where host code depends on it.

Each test runs a script in a separate process, because a device lives as long as its process.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import standin
from device_trace import Trace

PRELUDE = """
import ctypes
from ctypes import byref, c_int, c_size_t, c_uint, c_void_p, create_string_buffer
rt = ctypes.CDLL("libcudart.so.13")
H2D, D2H, D2D = 1, 2, 3
class Dim3(ctypes.Structure):
    _fields_ = [("x", c_uint), ("y", c_uint), ("z", c_uint)]
def malloc(size):
    address = c_void_p()
    return rt.cudaMalloc(byref(address), c_size_t(size)), address
def copy(to, source, size, kind, stream=None):
    return rt.cudaMemcpyAsync(to, source, c_size_t(size), kind, stream)
def stream():
    made = c_void_p()
    assert rt.cudaStreamCreateWithFlags(byref(made), 1) == 0
    return made
def launch(grid, block=Dim3(128, 1, 1), on=None):
    return rt.cudaLaunchKernel(None, Dim3(*grid), block, None, c_size_t(0), on)
"""


@pytest.fixture
def on_device(libraries: Path, tmp_path: Path):
    """Runs a script; returns its exit code and the trace."""

    def run(script: str, **settings: int) -> tuple[int, Trace]:
        log = tmp_path / "device.log"
        environment = standin.variables(libraries, log, **settings)
        done = subprocess.run([sys.executable, "-c", PRELUDE + script], env=environment, capture_output=True, text=True)
        assert done.returncode <= 0, done.stderr
        return done.returncode, Trace.read(log)

    return run


def test_the_host_cannot_read_device_memory(on_device) -> None:
    code, _ = on_device("_, at = malloc(4096); ctypes.string_at(at, 1)")
    assert code == -signal.SIGSEGV


def test_copies_move_bytes_in_the_given_direction(on_device) -> None:
    _, trace = on_device("""
_, a = malloc(8)
_, b = malloc(8)
out = create_string_buffer(8)
assert copy(a, b"12345678", 8, H2D) == 0 and copy(b, a, 8, D2D) == 0 and copy(out, b, 8, D2H) == 0
assert out.raw == b"12345678"
assert copy(out, b, 8, H2D) == 1 and rt.cudaPeekAtLastError() == 1 and rt.cudaGetLastError() == 1
assert rt.cudaGetLastError() == 0
""")
    assert [event.fields["direction"] for event in trace.of("copy")] == ["h2d", "d2d", "d2h"]


def test_large_copies_can_be_skipped(on_device) -> None:
    _, trace = on_device(
        """
_, a = malloc(200)
out = create_string_buffer(b"x" * 200, 200)
assert copy(a, b"y" * 200, 200, H2D) == 0 and copy(out, a, 200, D2H) == 0
assert out.raw == bytes(200)
""",
        skip_copies=100,
    )
    assert [event.number("bytes") for event in trace.of("copy")] == [200, 200]


def test_each_device_has_its_own_memory(on_device) -> None:
    _, trace = on_device(
        """
assert malloc(600)[0] == 0 and malloc(600)[0] == 2
assert rt.cudaSetDevice(1) == 0 and malloc(600)[0] == 0
assert rt.cudaSetDevice(2) == 101
free, total = c_size_t(), c_size_t()
rt.cudaMemGetInfo(byref(free), byref(total))
assert (free.value, total.value) == (400, 1000)
""",
        memory=1000,
        devices=2,
    )
    assert (trace.peak(0), trace.peak(1)) == (600, 600)
    assert [event.number("device") for event in trace.of("out_of_memory")] == [0]


def test_freed_memory_is_available_again(on_device) -> None:
    _, trace = on_device(
        """
_, a = malloc(900)
assert rt.cudaFree(a) == 0 and rt.cudaFree(a) == 1
assert malloc(900)[0] == 0
""",
        memory=1000,
    )
    assert trace.peak() == 900


@pytest.mark.parametrize("grid, code", [((1, 65535, 1), 0), ((1, 65536, 1), 9), ((1, 1, 65536), 9), ((0, 1, 1), 9)])
def test_a_grid_beyond_a_cards_limits_is_rejected(on_device, grid: tuple, code: int) -> None:
    _, trace = on_device(f"assert launch({grid}) == {code} and rt.cudaGetLastError() == {code}")
    assert trace.tallest_grid == max(grid[1:])


def test_a_stream_belongs_to_its_device(on_device) -> None:
    on_device("s = stream(); rt.cudaSetDevice(1); assert launch((1, 1, 1), on=s) == 400", devices=2)


def test_captured_work_runs_with_its_graph(on_device) -> None:
    _, trace = on_device("""
s, status, graph = stream(), c_int(), c_void_p()
_, a = malloc(4)
out = create_string_buffer(4)
source = create_string_buffer(b"abcd")
assert rt.cudaStreamBeginCapture(s, 0) == 0
rt.cudaStreamIsCapturing(s, byref(status)); assert status.value == 1
assert launch((1, 1, 1), on=s) == 0 and copy(a, source, 4, H2D, s) == 0 and copy(out, a, 4, D2H, s) == 0
assert rt.cudaStreamEndCapture(s, byref(graph)) == 0 and out.raw == bytes(4)
rt.cudaStreamIsCapturing(s, byref(status)); assert status.value == 0
assert rt.cudaGraphInstantiate(byref(graph), graph, 0) == 0 and rt.cudaGraphLaunch(graph, s) == 0
assert out.raw == b"abcd"
""")
    (launched,) = trace.of("graph_launch")
    assert (launched.number("kernels"), launched.number("copies")) == (1, 2)


@pytest.mark.parametrize("call", ["malloc(4)[0]", "rt.cudaStreamSynchronize(s)", "rt.cudaDeviceSynchronize()"])
def test_a_forbidden_call_during_a_capture_ends_the_capture(on_device, call: str) -> None:
    on_device(f"""
s, status, graph = stream(), c_int(), c_void_p()
rt.cudaStreamBeginCapture(s, 0)
assert {call} == 900
rt.cudaStreamIsCapturing(s, byref(status)); assert status.value == 2
assert rt.cudaStreamEndCapture(s, byref(graph)) == 901
assert malloc(4)[0] == 0
""")
