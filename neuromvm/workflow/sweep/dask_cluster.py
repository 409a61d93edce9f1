"""Workers of a running Dask cluster."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from neuromvm.errors import SpecError
from neuromvm.workflow.sweep.engines import Item, Lost, Value


class Dask:
    """A running cluster, by the address of its scheduler such as ``tcp://10.0.0.1:8786``, which answers in ``timeout`` seconds.

    The scheduler gives the item of a worker that dies to another worker. Workers should have one thread
    (``dask worker --nthreads 1``), and must see the folder of the sweep.
    """

    jobs: int | None = None  # workers come and go

    def __init__(self, address: str, timeout: float = 30.0) -> None:
        try:
            self.distributed: Any = import_module("distributed")
        except ImportError as error:
            raise SpecError(
                "engine dask", found="no distributed", next_step="Install it: pip install 'neuromvm[dask]'"
            ) from error
        try:
            self.client = self.distributed.Client(address, timeout=timeout)
        except (OSError, ValueError) as error:
            raise SpecError(
                f"--scheduler {address}",
                found="no Dask scheduler answers",
                next_step="Start one: dask scheduler, and beside it dask worker ADDRESS --nthreads 1",
            ) from error

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield the value of the function for each item, in the order in which they finish."""
        futures = [self.client.submit(function, item, pure=False) for item in items]
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in self.distributed.as_completed(futures):
                if future.status == "finished":
                    yield future.result()
                else:
                    yield Lost(numbers[future.key], f"{future.status}: {future.exception() if future.status == 'error' else ''}")
        finally:
            self.client.cancel([future for future in futures if not future.done()])
            self.client.close()
