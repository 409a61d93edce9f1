"""Two ways to do the same work, timed alternately, each in a process of its own.

A side is prepared in its process, which then waits for requests: sides do not disturb each other, both are timed under the same
load of the machine, and the peak memory of a process is that of its side alone. Sides import their libraries themselves.
"""

import importlib.util
import math
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import megabytes

Answer = dict[str, NDArray[Any]]
LEAST_REPEATS, MOST_SECONDS = 5, 90.0  # of a pair
Clock = Callable[[], float]  # of the time module: perf_counter, or process_time where others use the machine too


class Work(NamedTuple):
    """Prepared work of a side: ``run`` does it once and returns its units of work, ``answer`` returns arrays to be compared."""

    run: Callable[[], float]
    answer: Callable[[], Answer]
    remark: str = ""


class Side(NamedTuple):
    """One way to do the work; ``prepare`` is a function of a module, or a partial of one, given the folder of the pair."""

    name: str
    prepare: Callable[[Path], Work]


class Pair(NamedTuple):
    """Our side and a reference.

    ``unit``: the work of which times are given. ``aim``: the largest ratio of our time to the other. ``agreement``: in words,
    the parts of both answers that are compared; they may differ by the share ``tolerance``. ``needs``: packages without which
    the pair is left out. ``material``: writes files for both sides; pairs with the same material share the folder.
    """

    name: str
    ours: Side
    reference: Side
    unit: str
    threads: int = 1
    reference_threads: int | None = None  # the same
    aim: float | None = None
    agreement: str = ""
    tolerance: float = 0.0
    needs: tuple[str, ...] = ()
    material: Callable[[Path], None] | None = None

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


class Measured(NamedTuple):
    """Seconds a unit of work, one number a repeat, and memory [MB] of each side: when it was ready, and at most."""

    pair: Pair
    ours: NDArray[np.float64]
    reference: NDArray[np.float64]
    ours_memory: tuple[float, float]
    reference_memory: tuple[float, float]
    remark: str

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Our time over the other, of every repeat."""
        return np.asarray(self.ours / self.reference)


class _Process:
    """A side in its own process."""

    def __init__(self, side: Side, folder: Path, threads: int, clock: Clock) -> None:
        self.name = side.name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(threads)  # read when libraries are loaded, so before the process starts
        self._process = context.Process(target=_serve, args=(theirs, side.prepare, folder, threads, clock), daemon=True)
        self._process.start()
        theirs.close()
        self.ready, self.remark = self._receive()

    def run(self, calls: int) -> float:
        """Do the work so many times; returns seconds a unit."""
        return float(self._ask(calls))

    def memory(self) -> tuple[float, float]:
        return self.ready, float(self._ask("memory"))

    def answer(self) -> Answer:
        arrays: Answer = self._ask("answer")
        return arrays

    def end(self) -> None:
        self._pipe.close()
        self._process.join()

    def _ask(self, request: int | str) -> Any:
        self._pipe.send(request)
        return self._receive()

    def _receive(self) -> Any:
        try:
            reply = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"side {self.name!r} ended with exit code {self._process.exitcode}") from None
        if isinstance(reply, _Failed):
            raise RuntimeError(f"side {self.name!r} failed:\n{reply.text}")
        return reply


class _Failed(NamedTuple):
    text: str


def _serve(pipe: Connection, prepare: Callable[[Path], Work], folder: Path, threads: int, clock: Clock) -> None:
    """Prepare a side and answer requests until the pipe is closed."""
    try:
        work = prepare(folder)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        pipe.send((megabytes("VmRSS"), work.remark))
        while True:
            asked = pipe.recv()
            if asked == "memory":
                pipe.send(megabytes("VmHWM"))
            elif asked == "answer":
                pipe.send(work.answer())
            else:
                started = clock()
                units = sum(work.run() for _ in range(asked))
                pipe.send((clock() - started) / units)
    except EOFError:
        return
    except Exception:
        pipe.send(_Failed(traceback.format_exc()))


class Folders:
    """Folders of pairs with their material, below one temporary folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._written: dict[Callable[[Path], None], Path] = {}

    def of(self, pair: Pair) -> Path:
        """Return the folder of a pair; its material is written in a process of its own, apart from both sides."""
        if pair.material in self._written:
            return self._written[pair.material]
        folder = self._root / pair.name
        folder.mkdir()
        if pair.material is not None:
            process = multiprocessing.get_context("spawn").Process(target=pair.material, args=(folder,))
            process.start()
            process.join()
            if process.exitcode:
                raise RuntimeError(f"the material of {pair.name} was not written: exit code {process.exitcode}")
            self._written[pair.material] = folder
        return folder


def measure(pair: Pair, folder: Path, repeats: int, least: float, clock: Clock = time.perf_counter) -> Measured:
    """Time both sides in turn, and compare their answers.

    Parameters
    ----------
    pair
        Both sides.
    folder
        Of :class:`Folders`.
    repeats
        How often each side is timed; sides that take long are timed less often, but at least five times.
    least
        Duration of a repeat [s]: the work is repeated until it takes at least this long.
    clock
        Function that returns the time [s].

    Raises
    ------
    AssertionError
        If the answers of the sides differ.
    """
    sides = ((pair.ours, pair.threads), (pair.reference, pair.reference_threads or pair.threads))
    processes = [_Process(side, folder, threads, clock) for side, threads in sides]
    calls, duration = [], 0.0
    for process in processes:
        process.run(1)  # includes work that is done only once
        started = time.perf_counter()
        process.run(1)
        took = time.perf_counter() - started
        calls.append(max(1, math.ceil(least / took)))
        duration += max(least, took)
    repeats = min(repeats, max(LEAST_REPEATS, int(MOST_SECONDS / duration)))
    seconds = np.array([[process.run(count) for process, count in zip(processes, calls, strict=True)] for _ in range(repeats)])
    memory = [process.memory() for process in processes]
    answers = [process.answer() for process in processes]
    for process in processes:
        process.end()
    expect_same(*answers, tolerance=pair.tolerance)
    return Measured(pair, seconds[:, 0], seconds[:, 1], memory[0], memory[1], processes[0].remark)


def expect_same(ours: Answer, reference: Answer, tolerance: float) -> None:
    """Raise AssertionError unless answers are equal, to a share ``tolerance`` of the largest number."""
    assert set(ours) == set(reference), f"answers of {sorted(ours)} and {sorted(reference)}"
    for name, values in reference.items():
        assert ours[name].shape == values.shape, f"{name} of shape {ours[name].shape} and {values.shape}"
        largest = float(np.abs(values).max(initial=0)) if values.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=tolerance * largest, err_msg=name)
