"""Run many cases in worker processes, and count what must not happen."""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.worker import GOOD, KINDS, keep, kind_of

LONGEST_CASE = 30.0  # [s] of processor time; the readers of damaged files, other processes, count in LONGEST_WAIT
LONGEST_WAIT = 300.0  # [s]
START = 120.0  # [s] for imports


class Fuzz:
    """A series of cases: outcomes by kind, and the inputs of those that went wrong in a folder."""

    def __init__(self, seed: int, count: int, first: int, minutes: float, out: Path, kinds: str) -> None:
        self.seed, self.last, self.next, self.out = seed, first + count, first, out
        self.kinds = kinds
        self.end = time.monotonic() + 60 * minutes
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def run(self) -> None:
        """Start workers, each behind the case in which the one before it died, until all cases are run or time is over."""
        with tempfile.TemporaryDirectory() as name:
            while self.next < self.last and time.monotonic() < self.end:
                self._work(Path(name))

    def _work(self, folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            *map(str, (self.seed, self.next, self.last, 1, folder, self.out, self.kinds)),
        ]
        repository = Path(__file__).parents[2]
        log = (folder / "stderr.txt").open("wb")
        with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=log, bufsize=0) as process:
            assert process.stdout is not None
            begun, wait = False, START
            while time.monotonic() < self.end:
                ready = self._waits(process, wait)
                line = process.stdout.readline() if ready else b""
                if not line and not ready and time.monotonic() >= self.end:
                    continue
                if not line:
                    break
                report = json.loads(line)
                if "done" in report:
                    self.next, begun = report["done"], False
                    continue
                begun, wait = "begins" in report, LONGEST_CASE
                self.next = report["begins"] if begun else report["ends"] + 1
                if not begun:
                    self._count(report["outcome"], report["text"], folder)
            else:
                process.kill()
                return
            if not ready:
                process.kill()
            code = process.wait()
        if begun:
            text = "" if not ready else (signal.Signals(-code).name if code < 0 else f"exit {code}")
            self._count("hang" if not ready else "signal", text, folder)
            self.next += 1
        elif self.next < self.last:
            sys.exit(f"the worker does not start:\n{(folder / 'stderr.txt').read_text()}")

    def _waits(self, process: subprocess.Popen[bytes], wait: float) -> bool:
        """Return whether a line arrives before the worker has used the time of a case."""
        assert process.stdout is not None
        used, begin = _processor_time(process.pid), time.monotonic()
        while time.monotonic() < min(begin + LONGEST_WAIT, self.end):
            if select.select([process.stdout], [], [], 1.0)[0]:
                return True
            if _processor_time(process.pid) - used > wait:
                break
        return False

    def _count(self, outcome: str, text: str, folder: Path) -> None:
        number = self.next if outcome in ("hang", "signal") else self.next - 1
        self.outcomes[kind_of(number), outcome] += 1
        if outcome in ("hang", "signal"):
            keep(folder / "work", self.out / f"{self.seed}-{number}-{kind_of(number)}-{outcome}", text)
        elif outcome not in GOOD:
            sys.stdout.write(
                f"{number} {kind_of(number)} {outcome}: {text.strip().splitlines()[-1][:160] if text.strip() else ''}\n"
            )
            sys.stdout.flush()


def _processor_time(process: int) -> float:
    """Return the processor time [s] that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Read options, run and print a table; exit code 1 if a case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case: with --n 1, one case again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="longest time")
    parser.add_argument("--out", type=Path, default=Path("fuzz_findings"), help="inputs of cases that went wrong")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of cases")
    options = parser.parse_args()
    unknown = set(options.kinds.split(",")) - set(KINDS)
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    fuzz = Fuzz(options.seed, options.n, options.first, options.minutes, options.out.resolve(), options.kinds)
    start = time.monotonic()
    fuzz.run()
    kinds = sorted({kind for kind, _ in fuzz.outcomes})
    names = [*GOOD, *sorted({outcome for _, outcome in fuzz.outcomes} - set(GOOD))]
    rows = [["kind", *names], *([kind, *(str(fuzz.outcomes[kind, name]) for name in names)] for kind in kinds)]
    for row in rows:
        sys.stdout.write(" ".join(cell.rjust(10) for cell in row) + "\n")
    total = sum(fuzz.outcomes.values())
    bad = sum(number for (_, outcome), number in fuzz.outcomes.items() if outcome not in GOOD)
    sys.stdout.write(f"seed {options.seed}: {total} cases in {time.monotonic() - start:.0f} s, {bad} went wrong\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
