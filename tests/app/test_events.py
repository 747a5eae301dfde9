"""What wakes a supervising process."""

import os
import signal
import time

import pytest

from broker.app.events import Events, pipe


def test_a_readable_descriptor_calls_whoever_watches() -> None:
    """Data in a pipe calls its watcher, not that of another pipe, and nobody once it is forgotten."""
    events, called = Events(), []
    with pipe() as (reader, writer), pipe() as (silent, _):
        events.watch(reader, lambda: called.append("reader"))
        events.watch(silent, lambda: called.append("silent"))
        os.write(writer, b"x")
        events.handle()
        events.forget(reader)
        events.handle(deadline=time.monotonic())
    assert called == ["reader"]


def test_later_is_later_and_once() -> None:
    """What is due is called once, in the order of asking; what is not due waits; what is dropped never comes."""
    events, called = Events(), []
    events.later(0, lambda: called.append("first"))
    events.later(0, lambda: called.append("second"))
    events.later(3600, lambda: called.append("much later"))
    events.handle()
    events.handle(deadline=time.monotonic())
    assert called == ["first", "second"]
    events.later(0, lambda: called.append("dropped"))
    events.cancel_later()
    events.handle(deadline=time.monotonic())
    assert called == ["first", "second"]


def test_a_signal_ends_a_wait() -> None:
    """A counted signal wakes the wait, and its earlier meaning is back afterwards."""
    events = Events()
    before = signal.getsignal(signal.SIGTERM)
    with events.counting([signal.SIGTERM]):
        os.kill(os.getpid(), signal.SIGTERM)
        events.handle()
        assert events.signals == 1
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def _hangup_ignored() -> object:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hangup_ignored")
def test_an_ignored_signal_stays_ignored() -> None:
    """Under ``nohup`` a hangup is not taken for a wish to end."""
    events = Events()
    with events.counting([signal.SIGHUP]):
        os.kill(os.getpid(), signal.SIGHUP)
        events.handle(deadline=time.monotonic())
    assert events.signals == 0
