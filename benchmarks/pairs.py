"""Two ways to do the same work, timed alternately, each in a process of its own.

A side is prepared in its process, which then waits until it is told to work; so one never disturbs the other, both meet the same
weather on the machine, and the peak memory of a process is that of its side alone. Modules that declare pairs import what a side
needs inside the side: each stands for a program of its own.
"""

import importlib.util
import math
import multiprocessing
import os
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
    """What a side does, ready to be timed.

    ``run`` does it once and returns how many units of work that was. ``answer`` says what came out, by names that both sides use.
    """

    run: Callable[[], float]
    answer: Callable[[], Answer]
    remark: str = ""


class Side(NamedTuple):
    """One way to do the work; ``prepare`` is a function of a module, or a partial of one, given the folder of the pair."""

    name: str
    prepare: Callable[[Path], Work]


class Pair(NamedTuple):
    """Ours and what it is compared with.

    ``unit``: what a time is the time of. ``aim``: the largest ratio of our time to the other. ``agreement``: in words, what of
    both answers was compared; they may differ by the share ``tolerance``. ``needs``: packages without which it is left out.
    ``material``: writes into the folder what both sides need; pairs with the same material share the folder.
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
        found: Answer = self._ask("answer")
        return found

    def end(self) -> None:
        self._pipe.close()
        self._process.join()

    def _ask(self, what: int | str) -> Any:
        self._pipe.send(what)
        return self._receive()

    def _receive(self) -> Any:
        try:
            found = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"side {self.name!r} ended with exit code {self._process.exitcode}") from None
        if isinstance(found, _Failed):
            raise RuntimeError(f"side {self.name!r} failed:\n{found.text}")
        return found


class _Failed(NamedTuple):
    text: str


def _serve(pipe: Connection, prepare: Callable[[Path], Work], folder: Path, threads: int, clock: Clock) -> None:
    """Prepare a side and do what is asked until nobody asks."""
    try:
        work = prepare(folder)
        _set_threads(threads)
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


def _set_threads(threads: int) -> None:
    from sys import modules

    if "torch" in modules:
        modules["torch"].set_num_threads(threads)


class Folders:
    """Folders of pairs, with what their sides need; gone when the benchmark ends."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._made: dict[Callable[[Path], None], Path] = {}

    def of(self, pair: Pair) -> Path:
        """Return the folder of a pair; its material is made in a process of its own, so that no side is charged for it."""
        if pair.material in self._made:
            return self._made[pair.material]
        folder = self._place / pair.name
        folder.mkdir()
        if pair.material is not None:
            process = multiprocessing.get_context("spawn").Process(target=pair.material, args=(folder,))
            process.start()
            process.join()
            if process.exitcode:
                raise RuntimeError(f"the material of {pair.name} was not made: exit code {process.exitcode}")
            self._made[pair.material] = folder
        return folder


def measure(pair: Pair, folder: Path, repeats: int, least: float, clock: Clock = time.perf_counter) -> Measured:
    """Time both sides in turn, and compare what they found.

    Parameters
    ----------
    pair
        Both sides.
    folder
        Of :class:`Folders`.
    repeats
        How many times each side is timed; fewer, but at least five, of sides that take long.
    least
        A repeat does its work so often that it takes at least this long [s].
    clock
        What time is.

    Raises
    ------
    AssertionError
        If the sides did not do the same.
    """
    sides = ((pair.ours, pair.threads), (pair.reference, pair.reference_threads or pair.threads))
    processes = [_Process(side, folder, threads, clock) for side, threads in sides]
    calls, both = [], 0.0
    for process in processes:
        process.run(1)  # the first call pays for what is made once
        started = time.perf_counter()
        process.run(1)
        took = time.perf_counter() - started
        calls.append(max(1, math.ceil(least / took)))
        both += max(least, took)
    repeats = min(repeats, max(LEAST_REPEATS, int(MOST_SECONDS / both)))
    seconds = np.array([[process.run(count) for process, count in zip(processes, calls, strict=True)] for _ in range(repeats)])
    memory = [process.memory() for process in processes]
    answers = [process.answer() for process in processes]
    for process in processes:
        process.end()
    expect_same(*answers, tolerance=pair.tolerance)
    return Measured(pair, seconds[:, 0], seconds[:, 1], memory[0], memory[1], processes[0].remark)


def expect_same(ours: Answer, reference: Answer, tolerance: float) -> None:
    """Raise AssertionError unless both sides found the same, to a share ``tolerance`` of the largest number."""
    assert set(ours) == set(reference), f"answers of {sorted(ours)} and {sorted(reference)}"
    for name, values in reference.items():
        assert ours[name].shape == values.shape, f"{name} of shape {ours[name].shape} and {values.shape}"
        largest = float(np.abs(values).max(initial=0)) if values.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=tolerance * largest, err_msg=name)
