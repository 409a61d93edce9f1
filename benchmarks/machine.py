"""What a benchmark ran on, and what it took of it."""

import datetime
import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path

PACKAGES = ("torch", "numpy", "h5py", "pynwb", "pynapple", "multivae")


def description() -> str:
    """Return date, processor, cores, system and versions in one line."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    today = datetime.datetime.now(tz=datetime.UTC).date()
    system = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    return f"{today}, {_processor()}, {system}, {', '.join(versions)}"


def _processor() -> str:
    """Return the name of the processor; where the system gives none but a make, its numbers too."""
    about = {}
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            about.setdefault(key.strip(), value.strip())
    name = about.get("model name") or platform.processor() or platform.machine()
    wide = next((kind for kind in ("amx_tile", "avx512f", "avx2") if kind in about.get("flags", "").split()), None)
    model = f"family {about['cpu family']} model {about['model']}" if {"cpu family", "model"} <= set(about) else ""
    return ", ".join(part for part in (name, model, wide) if part)


def megabytes(what: str) -> float:
    """Return resident memory of this process [MB]: ``VmRSS`` now, ``VmHWM`` at most.

    Where the system does not tell, both are the most that the process has had; its parent's never counts on Linux.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{what}:"))
        return float(kilobytes) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
