"""Progress of long steps with the time left: a bar on a terminal and in notebooks, elsewhere a line in the log at times.

Work inside of other work, and in other processes, shows nothing. ``logging.getLogger("neuromvm.progress").disabled = True``
turns all off; at level DEBUG steps are logged as they end.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from multiprocessing import current_process
from types import TracebackType
from typing import ClassVar, TypeVar

from tqdm.auto import tqdm

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0
SECONDS_BEFORE_BAR = 0.5  # a step that ends sooner has no bar
Item = TypeVar("Item")


class Progress(AbstractContextManager["Progress"]):
    """Progress through ``total`` units of work, of which ``done`` are done before it begins.

    ``label`` says what is done, ``unit`` what is counted; nothing is shown with ``shown=False``.

    >>> with Progress(2, "refits", "batch", shown=False) as progress:
    ...     progress.advance()
    """

    _running: ClassVar[int] = 0  # in this process

    def __init__(self, total: int, label: str, unit: str, *, done: int = 0, shown: bool = True) -> None:
        shown = shown and not LOG.disabled and Progress._running == 0 and current_process().name == "MainProcess"
        has_bar = shown and has_display()
        self.total, self.label, self.unit, self.done = total, label, unit, done
        self._has_lines = shown and not has_bar
        self._bar = tqdm(
            total=total, initial=done, desc=label, unit=unit, disable=not has_bar, delay=SECONDS_BEFORE_BAR, dynamic_ncols=True
        )
        self._begin = self._said = time.monotonic()
        self._first = done

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count work that is done; ``note`` says what it was, or how it went."""
        self.done += count
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)
        moment = time.monotonic()
        if self._has_lines and self.done < self.total and moment - self._said >= SECONDS_BETWEEN_LINES:
            self._said = moment
            remaining = (moment - self._begin) / (self.done - self._first) * (self.total - self.done)
            LOG.info("%s: %d of %d, about %s left", self.label, self.done, self.total, in_words(remaining))

    def __enter__(self) -> "Progress":
        """Count as running work."""
        Progress._running += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the bar."""
        Progress._running -= 1
        self._bar.close()


def steps(items: Iterable[Item], label: str, unit: str, *, total: int | None = None, shown: bool = True) -> Iterator[Item]:
    """Yield items and show the progress through them; ``total`` is their number where they do not say it themselves.

    >>> list(steps("ab", "letters", "letter", shown=False))
    ['a', 'b']
    """
    count = len(items) if total is None and isinstance(items, Sized) else total or 0
    with Progress(count, label, unit, shown=shown) as progress:
        for item in items:
            begin = time.monotonic()
            yield item
            name = item if isinstance(item, str) else ""
            progress.advance(note=name)
            LOG.debug("%s: %s %s took %.1f s", label, unit, name or progress.done, time.monotonic() - begin)


def has_display() -> bool:
    """Return whether a bar can be drawn: standard error is a terminal, or this is a notebook."""
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return shell is not None and hasattr(shell, "kernel")


def in_words(seconds: float) -> str:
    """Return a duration as one unit of time.

    >>> in_words(42), in_words(95), in_words(4000), in_words(40_000)
    ('42 s', '2 min', '67 min', '11 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
