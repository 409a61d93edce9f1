"""Commands in processes that start with the package imported, so that a kill falls into their work and not into imports."""

import multiprocessing
import os
import resource
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = ["torch", "sklearn", "matplotlib.figure", "seaborn", "neuromvm.workflow.experiment", "neuromvm.analysis.report"]
PRELOADED += ["neuromvm.analysis.figures.style", "neuromvm.workflow.few_shot", "neuromvm.workflow.sweep.runner"]
PRELOADED += ["neuromvm.workflow.command_line", "neuromvm.workflow.refits", "neuromvm.workflow.sharing"]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(PRELOADED)


def command(arguments: list[str], folder: Path, largest_file: int | None = None) -> BaseProcess:
    """Return a process, not yet started, of a command in a folder, whose output goes to ``output.txt`` there."""
    return PROCESSES.Process(target=_call, args=(arguments, folder, largest_file))


def _call(arguments: list[str], folder: Path, largest_file: int | None) -> None:
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    from neuromvm.workflow.command_line import main

    sys.argv = ["neuromvm", *arguments]
    main()
