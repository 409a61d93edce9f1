"""Measure pairs and print their table: ``python -m benchmarks [--only NAME ...] [--out FILE.md] [--quick]``."""

import argparse
import fnmatch
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import against_multivae, binning, published_loop, reading, stacks, steps, writing
from benchmarks.machine import description
from benchmarks.pairs import Folders, Measured, Pair, measure
from benchmarks.table import markdown

MODULES = (steps, stacks, against_multivae, published_loop, reading, binning, writing)
INSTALL = "pip install -r benchmarks/requirements.txt, in an environment of its own: see that file"


def main() -> None:
    """Measure the pairs that the command line names."""
    arguments, chosen = _parse([pair for module in MODULES for pair in module.pairs()])
    if arguments.list:
        print("\n".join(pair.name for pair in chosen))
        return
    left_out = [f"{pair.name}: {', '.join(pair.missing)} is not installed ({INSTALL})" for pair in chosen if pair.missing]
    repeats, least = (3, 0.0) if arguments.quick else (arguments.repeats, 0.5)
    clock = time.process_time if arguments.processor_time else time.perf_counter
    header = f"{description()}. Times are {'processor seconds' if arguments.processor_time else 'seconds on the wall clock'}."
    measured: list[Measured] = []
    with TemporaryDirectory(prefix="benchmarks-") as path:
        folders = Folders(Path(path))
        for pair in chosen:
            if pair.missing:
                continue
            print(f"{pair.name}: {pair.ours.name} against {pair.reference.name}", flush=True)
            measured.append(measure(pair, folders.of(pair), repeats, least, clock))
            if arguments.out is not None:  # after each pair, so that results are kept if a later pair fails
                arguments.out.write_text(markdown(measured, header, left_out))
    text, console = markdown(measured, header, left_out), Console()
    Console(width=None if console.is_terminal else 180).print(Markdown(text))
    if arguments.out is not None:
        arguments.out.write_text(text)


def _parse(pairs: list[Pair]) -> tuple[argparse.Namespace, list[Pair]]:
    """Return the arguments of the command line and the pairs that they name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help="pairs by name; * stands for any text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as Markdown too")
    parser.add_argument("--repeats", type=int, default=21, help="how often each side is timed (default 21)")
    parser.add_argument("--quick", action="store_true", help="three short repeats, to see that all pairs run")
    parser.add_argument("--processor-time", action="store_true", help="processor seconds: on a shared machine, one thread")
    parser.add_argument("--list", action="store_true", help="print the names of the pairs")
    arguments = parser.parse_args()
    names = [pair.name for pair in pairs]
    matching = {pattern: fnmatch.filter(names, pattern) for pattern in arguments.only}
    for pattern, matches in matching.items():
        if not matches:
            parser.error(f"no pair {pattern!r}; there are {', '.join(names)}")
    return arguments, [pair for pair in pairs if any(pair.name in matches for matches in matching.values())]


if __name__ == "__main__":
    main()
