"""Damage that fits any file: bytes overwritten, and values that readers do not expect."""

from pathlib import Path
from typing import Any

import numpy as np

WORDS = [
    "",
    "~",
    "null",
    "true",
    "no",
    "-1",
    "0",
    "1e309",
    ".inf",
    ".nan",
    "-.inf",
    "0x" + "f" * 80,
    "9" * 30,
    "9" * 5000,
    "1e-320",
    "[]",
    "{}",
    "[[]]",
    "{a: 1}",
    "2001-99-99",
    "2001-01-01",
    "12:30:45",
    "!!int abc",
    "!!float x",
    "!!binary aGk=",
    "!!set {a, b}",
    "!!null x",
    "!!timestamp x",
    "!!omap [a: b]",
    "!!python/object/apply:os.system [touch CANARY]",
    "!!python/name:os.system",
    "&a [*a]",
    "*nothing",
    "'",
    '"',
    "|",
    ">",
    "- -",
    "? x",
    "a: b: c",
    "{",
    "[",
    "]",
    "\t",
    "%YAML 9.9",
    "---",
    "...",
    "@",
    "`",
    "x" * 3000,
    "é",
    "\u202e",
    "../../etc/passwd",
    "/etc/passwd",
    "~/x",
    "a\\b",
    "$(touch CANARY)",
    "[1, a, null, 2.5]",
    "1_000",
    "0o17",
    "+1",
    "1.",
    ".5",
    "time",
    "start_time",
    "odor",
    "spikes",
    "rois",
    "units",
    "0.1",
    "0.5",
    "1",
    "2",
    "10",
    "100000",
    "1e9",
    "1e-9",
]
SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    10**9,
    2**63,
    10**40,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "NaN",
    "x" * 5000,
    "../..",
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    [1, "a", None],
    "0",
    "é\ud800".encode("utf-8", "replace").decode(),
]


def damaged_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """Return content that is cut, overwritten at places, or has a block moved or zeroed."""
    damaged = bytearray(content)
    if not damaged:
        return b"\0"
    way = random.integers(6)
    if way == 0:
        return bytes(damaged[: int(random.integers(len(damaged)))])
    if way == 1:
        start, length = int(random.integers(len(damaged))), int(random.integers(1, 200))
        damaged[start : start + length] = bytes(len(damaged[start : start + length]))
    elif way == 2:
        source, target, length = (int(random.integers(len(damaged))) for _ in range(3))
        length = min(length, 512)
        piece = damaged[source : source + length]
        damaged[target : target + len(piece)] = piece
    else:
        for position in random.integers(0, len(damaged), int(random.choice([1, 2, 5, 30]))):
            damaged[position] = int(random.choice([0, 1, 255, 127, 128, int(random.integers(256))]))
    return bytes(damaged)


def damage_file(path: Path, random: np.random.Generator) -> None:
    """Replace a file by a damaged one."""
    path.write_bytes(damaged_bytes(path.read_bytes(), random))


def changed_json(content: Any, random: np.random.Generator) -> Any:
    """Return JSON content with a value at a random place replaced, removed or repeated."""
    if random.random() < 0.15 or not isinstance(content, dict | list) or not content:
        return SCALARS[int(random.integers(len(SCALARS)))]
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = keys[int(random.integers(len(keys)))]
    if isinstance(content, dict):
        changed: Any = dict(content)
        if random.random() < 0.15:
            del changed[key]
            return changed
        if random.random() < 0.1:
            changed["more"] = changed.pop(key)
            return changed
    else:
        changed = list(content)
        if random.random() < 0.2:
            return changed[:-1] if random.random() < 0.5 else [*changed, changed[key]]
    changed[key] = changed_json(changed[key], random)
    return changed
