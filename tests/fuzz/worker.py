"""Run cases in turn, two lines of output each: ``python -m tests.fuzz.worker SEED FIRST LAST STEP FOLDER FINDINGS KINDS``."""

import json
import os
import resource
import shutil
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

from neuromvm.errors import NeuromvmError
from tests.fuzz import array_cases, nwb_cases, run_cases, spec_cases

KINDS = {"nwb": nwb_cases, "spec": spec_cases, "run": run_cases, "array": array_cases}
ORDER = ["nwb", "spec", "nwb", "run", "spec", "nwb", "array", "nwb", "spec", "nwb"]  # kind of a case, by its last digit
GOOD = ("read", "refused")
MEMORY = 2**31  # [bytes] beyond what imports take
LONGEST_MESSAGE = 3500  # [characters] of one paragraph


def kind_of(number: int) -> str:
    """Return the kind of a case."""
    return ORDER[number % len(ORDER)]


def run_case(seed: int, number: int, folder: Path, outside: Path) -> tuple[str, str]:
    """Return the outcome of a case, and what is behind it."""
    try:
        problem = KINDS[kind_of(number)].run(folder, np.random.default_rng([seed, number]), outside)
    except NeuromvmError as error:
        if "MemoryError" in str(error) or "Unable to allocate" in str(error):
            return "memory", str(error)
        if len(str(error)) > LONGEST_MESSAGE or "\n" in str(error):
            return "long", str(error)
        return "refused", str(error)
    except Exception:
        return "traceback", traceback.format_exc()
    return problem or "read", ""


def keep(work: Path, target: Path, text: str) -> None:
    """Copy the input of a case to the findings, with what happened."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work, target, symlinks=True)
    (target / "outcome.txt").write_text(text)
    sys.stderr.write(f"{target}: {text.strip().splitlines()[-1][:160] if text.strip() else ''}\n")


def main() -> None:
    """Run the cases FIRST, FIRST + STEP ... below LAST."""
    warnings.simplefilter("ignore")
    seed, first, last, step = map(int, sys.argv[1:5])
    folder = Path(sys.argv[5])
    outside = folder / "outside.h5"
    nwb_cases.write_outside(outside)
    taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    most = 1024 * int(taken.split()[1]) + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    kinds = sys.argv[7].split(",")
    if "run" in kinds:
        run_cases.made_run(folder)
    work = folder / "work"
    for number in (number for number in range(first, last, step) if kind_of(number) in kinds):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        os.chdir(work)
        _say({"begins": number})
        outcome, text = run_case(seed, number, work, outside)
        if any(path.name.startswith("CANARY") for path in work.rglob("*")):
            outcome = "code"
        if outcome not in GOOD:
            keep(work, Path(sys.argv[6]) / f"{seed}-{number}-{kind_of(number)}-{outcome}", text)
        _say({"ends": number, "outcome": outcome, "text": text[-3000:]})
    _say({"done": last})


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
