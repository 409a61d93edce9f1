"""Progress: bars where they can be drawn, lines with the time left elsewhere, nothing if quiet or inside of other work."""

import io
import logging
import sys

import pytest

from neuromvm import progress
from neuromvm.progress import Progress, in_words, steps
from neuromvm.workflow import messages


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """A clock that stands where its last entry says."""
    times = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[-1])
    return times


@pytest.fixture(autouse=True)
def as_before():
    yield
    messages.configure()
    logging.getLogger("neuromvm").setLevel(logging.NOTSET)
    logging.getLogger("neuromvm.progress").disabled = False


def test_lines_say_how_much_is_left_every_half_minute(clock, caplog):
    caplog.set_level(logging.INFO, "neuromvm")
    with Progress(10, "refits", "batch") as work:
        for seconds in (10, 20, 31, 40, 62):
            clock.append(seconds)
            work.advance()
    assert [record.getMessage() for record in caplog.records] == [
        "refits: 3 of 10, about 72 s left".replace("72 s", in_words(31 / 3 * 7)),
        f"refits: 5 of 10, about {in_words(62 / 5 * 5)} left",
    ]


def test_time_left_counts_from_what_was_done_before(clock, caplog):
    caplog.set_level(logging.INFO, "neuromvm")
    with Progress(100, "cells", "cell", done=90) as work:
        clock.append(40)
        work.advance(2)
    assert caplog.records[0].getMessage() == f"cells: 92 of 100, about {in_words(160)} left"


def test_a_terminal_has_a_bar_and_no_lines(clock, caplog, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "SECONDS_BEFORE_BAR", 0)
    caplog.set_level(logging.INFO, "neuromvm")
    for _ in steps(["mitt", "stella"], "loading", "animal"):
        clock.append(clock[-1] + 40)
    assert "loading" in terminal.getvalue()
    assert caplog.records == []


def test_inner_and_quiet_work_show_nothing(clock, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "neuromvm")
    with Progress(1, "outer", "row"):
        for _ in steps(range(3), "inner", "row"):
            clock.append(clock[-1] + 40)
    assert caplog.records == []
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "SECONDS_BEFORE_BAR", 0)
    messages.configure(quiet=True)
    assert list(steps("ab", "letters", "letter")) == ["a", "b"]
    assert terminal.getvalue() == ""


def test_an_interrupted_step_does_not_silence_later_ones(clock, caplog):
    caplog.set_level(logging.INFO, "neuromvm")
    with pytest.raises(KeyboardInterrupt), Progress(2, "first", "step"):
        raise KeyboardInterrupt
    with Progress(2, "second", "step") as work:
        clock.append(50)
        work.advance()
    assert [record.getMessage() for record in caplog.records] == ["second: 1 of 2, about 50 s left"]


def test_messages_follow_the_options(capsys):
    logger = logging.getLogger("neuromvm.somewhere")
    for options, expected in (
        ({}, ["a step", "a warning"]),
        ({"quiet": True}, ["a warning"]),
        ({"verbose": True}, ["a detail", "a step", "a warning"]),
    ):
        messages.configure(**options)
        logger.debug("a detail")
        logger.info("a step")
        logger.warning("a warning")
        lines = capsys.readouterr().err.splitlines()
        assert [line.rpartition(": ")[2] for line in lines] == expected
