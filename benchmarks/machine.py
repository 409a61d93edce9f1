"""Description of the machine, and memory of a process."""

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
    """Return name, family, model and widest vector instructions of the processor, as far as the system gives them."""
    properties = {}
    if Path("/proc/cpuinfo").is_file():
        for line in reversed(Path("/proc/cpuinfo").read_text().splitlines()):
            key, _, value = line.partition(":")
            properties[key.strip()] = value.strip()
    name = properties.get("model name") or platform.processor() or platform.machine()
    flags = properties.get("flags", "").split()
    vectors = next((flag for flag in ("amx_tile", "avx512f", "avx2") if flag in flags), "")
    model = f"family {properties['cpu family']} model {properties['model']}" if {"cpu family", "model"} <= set(properties) else ""
    return ", ".join(filter(None, (name, model, vectors)))


def megabytes(field: str) -> float:
    """Return resident memory of this process [MB]: ``VmRSS`` now, ``VmHWM`` at most.

    On systems without ``/proc``, both are the peak of the process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{field}:"))
        return float(kilobytes) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
