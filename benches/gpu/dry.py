#!/usr/bin/env python3
"""Runs the whole kit on the stand-in CUDA device, which finds errors of the host code without a GPU.

    dry.py --out target/gpu-dry

It creates the pieces, unpacks them, runs all stages at tiny shapes, kills the run in the middle, resumes it, and checks that
every stage wrote its JSON and its part of the table. The device computes nothing, so all numbers are meaningless.
Steps that need torch run if this Python has it, and are reported as skipped otherwise.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests" / "gpu"
sys.path.insert(0, str(TESTS))
import standin  # noqa: E402  (needs the path)
from standin import suite  # noqa: E402

# The only acceptable reasons for a step without a result.
ALLOWED = (
    "needs torch",
    "needs reference-",
    "the stand-in device computes nothing",
)
STAGES = ["1-nano", "2-values", "3-speed", "4-server", "5-peaks"]
UNFINISHED = 3


def fail(reason: str) -> None:
    """Ends the dry run with an error."""
    sys.exit(f"dry run failed: {reason}")


def make_and_take(program: Path, out: Path) -> Path:
    """Creates the pieces and unpacks them as on the machine with the GPU; returns the work folder there."""
    made, work = out / "pieces", out / "work"
    # Compression would take minutes.
    quick = ["--uncompressed", "--no-full-library"]
    subprocess.run([sys.executable, HERE / "kit.py", "--program", program, "--out", made, *quick], check=True)
    parts = sorted(made.iterdir(), reverse=True)
    damaged = out / "damaged"
    shutil.copytree(parts[0], damaged)
    with open(damaged / "piece", "r+b") as piece:
        piece.write(b"damaged")
    if subprocess.run([sys.executable, damaged / "take.py", "--work", work], capture_output=True).returncode == 0:
        fail("take.py accepted a damaged piece")
    for part in parts:
        subprocess.run([sys.executable, part / "take.py", "--work", work], check=True)
    return work


def environment(out: Path) -> dict[str, str]:
    """Returns an environment with the stand-in device and a stand-in for nvidia-smi."""
    device, programs = out / "device", out / "bin"
    device.mkdir()
    standin.build(device)
    programs.mkdir()
    shutil.copyfile(HERE / "nvidia_smi.py", programs / "nvidia-smi")
    (programs / "nvidia-smi").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return standin.variables(device, out / "device.log") | {"PATH": path, "HF_HUB_OFFLINE": "1"}


def steps(results: Path) -> dict[str, dict]:
    """Returns all steps recorded so far."""
    found = {}
    for stage in STAGES:
        file = results / f"{stage}.json"
        recorded = json.loads(file.read_text())["steps"] if file.exists() else {}
        found |= {f"{stage}: {name}": step for name, step in recorded.items()}
    return found


def interrupt(command: list[str], env: dict[str, str], results: Path) -> dict[str, dict]:
    """Kills a run while a server of stage 3 is running; returns the recorded steps."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    while process.poll() is None and len([name for name in steps(results) if name.startswith("3-")]) < 2:
        time.sleep(0.05)
    time.sleep(0.5)
    if process.poll() is not None:
        fail(f"the run ended with exit code {process.returncode} before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    left = [place for place in Path("/proc").glob("[0-9]*/cmdline") if is_server(place, results.parent)]
    if left:
        fail("the server of the killed run is still running and would hold the card's memory")
    return steps(results)


def is_server(place: Path, folder: Path) -> bool:
    """Whether a process is a server of this dry run."""
    try:
        words = place.read_bytes().split(b"\0")
    except OSError:  # the process has ended
        return False
    return b"serve" in words and words[0].startswith(bytes(folder))


def check(results: Path, before: dict[str, dict]) -> None:
    """Checks that every stage has results, no step failed, and no step before the kill ran again."""
    after = steps(results)
    if missing := [stage for stage in STAGES if not any(name.startswith(stage) for name in after)]:
        fail(f"no results of {', '.join(missing)}")
    for name, step in after.items():
        if step["status"] == "failed" or step["status"] == "skipped" and not step["reason"].startswith(ALLOWED):
            fail(f"{name} {step['status']}: {step['reason']}")
        if name in before and before[name] != step:
            fail(f"{name} ran again after the interruption")
    golden = after["1-nano: fp32 on the CPU"]["values"]["to_golden"]["min"]
    if golden < 0.99999:
        fail(f"nano in fp32 on the CPU has a least cosine of {golden} to the golden vectors")
    report = (results / "RESULTS.md").read_text()
    for heading in ("A dry run", "| goal |", "| nano, cosine", "| 4B, cosine", "| 4B | tokens/s", "| load |"):
        if heading not in report:
            fail(f"RESULTS.md has no `{heading}`")
    done = sum(step["status"] == "ok" for step in after.values())
    print(f"dry run: {done} steps ran, {len(after) - done} skipped, {len(before)} recorded before the interruption")
    for name, step in after.items():
        if step["status"] == "skipped":
            print(f"  skipped: {name}: {step['reason']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, help="the lexivec program; default: LEXIVEC_PROGRAM, or a debug build")
    parser.add_argument("--out", type=Path, required=True, help="folder for all files; replaced")
    parser.add_argument("--python", type=Path, help="interpreter for the stages; default: that of `make test-gpu`, which has no torch")
    arguments = parser.parse_args()
    python = arguments.python or suite.python(suite.environment("gpu/python", TESTS / "requirements.txt"))
    program = arguments.program or suite.program()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started = time.monotonic()
    work = make_and_take(program, out)
    env = environment(out)
    results = out / "results"
    stages = str(work / "kit" / "benches" / "gpu" / "run.py")
    command = [str(python), stages, "--dry", "--work", str(work), "--results", str(results)]
    code = subprocess.run([*command, "--minutes", "0.01"], env=env, stdout=subprocess.DEVNULL).returncode
    if code != UNFINISHED:
        fail(f"a call with a time limit of 0.01 minutes ended with exit code {code}, not {UNFINISHED}")
    before = interrupt([*command, "--minutes", "20"], env, results)
    code = subprocess.run([*command, "--minutes", "20"], env=env).returncode
    if code not in (0, 1):
        fail(f"exit code {code}")
    check(results, before)
    print(f"dry run: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
