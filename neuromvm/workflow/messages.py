"""Messages of commands on standard error: warnings always, steps unless quiet, everything if verbose."""

import logging
import sys

from tqdm import tqdm


class MessageHandler(logging.Handler):
    """Write messages to what is standard error at the time, above a bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        tqdm.write(self.format(record), file=sys.stderr)


def configure(*, quiet: bool = False, verbose: bool = False) -> None:
    """Set which messages of the package are written, with their time and module if ``verbose``; ``quiet`` hides bars too."""
    logger = logging.getLogger("neuromvm")
    for handler in [handler for handler in logger.handlers if isinstance(handler, MessageHandler)]:
        logger.removeHandler(handler)
    handler = MessageHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("neuromvm.progress").disabled = quiet
