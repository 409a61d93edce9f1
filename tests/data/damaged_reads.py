"""Read copies of a file with random bytes overwritten, one line of outcome each. Run as a process of its own.

The HDF5 library itself can crash on a damaged file, which no Python code can catch: the caller starts again behind it.
"""

import sys
from pathlib import Path

import numpy as np

from neuromvm.data.loaders import load_recordings
from neuromvm.errors import NeuromvmError
from tests.data.nwb_files import spike_spec


def report(text: str) -> None:
    """Write at once: the next read may be the last."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main(source: Path, first: int, last: int) -> None:
    """Print for each number of a damaged copy ``read``, ``refused``, or the type of an error that is not ours."""
    content = source.read_bytes()
    copy = source.parent / "damaged" / "a.nwb"
    for seed in range(first, last):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 30):
            damaged[position] = rng.integers(256)
        copy.write_bytes(damaged)
        report(f"{seed} ")
        try:
            load_recordings(spike_spec(), copy.parent)
            report("read\n")
        except NeuromvmError:
            report("refused\n")
        except Exception as error:  # that this never happens is what the caller tests
            report(f"{type(error).__name__}: {error!r}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
