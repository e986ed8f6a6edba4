"""The first signal asks, the second insists, and a process that hangs at its end is left in time."""

import signal
import subprocess
import sys

import pytest

HEAD = """
import os, signal, sys, time
from contextlib import ExitStack
from streamrec.signals import StopSignals, Stopped, close_soon
def say(text): os.write(1, text.encode() + bytes([10]))  # a print can be interrupted in its middle
"""


def ended(program, *signals, timeout_s=30):
    """(exit code, lines) of a program that gets these signals, each once it has said something."""
    process = subprocess.Popen([sys.executable, "-c", HEAD + program], stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        for number in signals:
            lines.append(process.stdout.readline().strip())
            process.send_signal(number)
        lines += process.stdout.read().splitlines()
        return process.wait(timeout_s), lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_there_is_anything_to_ask_it_is_stopped_where_it_is(number):
    program = """
try:
    with StopSignals((signal.SIGTERM, signal.SIGINT)) as signals:
        say("ready")
        time.sleep(60)
except Stopped:
    say("stopped")
"""
    assert ended(program, number) == (0, ["ready", "stopped"])


@pytest.mark.parametrize("how", ["raise ImportError('lost on its way')", "pass"])
def test_a_library_that_swallows_it_does_not_keep_the_process(how):
    program = """
try:
    with StopSignals((signal.SIGTERM,)) as signals:
        try:
            say("ready")
            time.sleep(60)
        except BaseException:
            HOW
        signals.ask(lambda: say("asked"))
except Stopped:
    say("stopped")
"""
    told = "asked" if how == "pass" else "stopped"
    assert ended(program.replace("HOW", how), signal.SIGTERM) == (0, ["ready", told])


ASKED = """
with StopSignals((signal.SIGTERM, signal.SIGINT), LEAVE) as signals:
    signals.ask(lambda: say("asked"))
    try:
        say("ready")
        time.sleep(60)
    except KeyboardInterrupt:
        say("insisted")
"""


def test_who_was_asked_and_does_not_end_is_ended():
    assert ended(ASKED.replace("LEAVE", "0.3"), signal.SIGTERM) == (0, ["ready", "asked"])


def test_a_second_signal_interrupts():
    lines = ["ready", "asked", "insisted"]
    assert ended(ASKED.replace("LEAVE", "None"), signal.SIGTERM, signal.SIGINT) == (0, lines)


def test_what_does_not_close_is_left():
    program = """
stack = ExitStack()
stack.callback(time.sleep, 60)
stack.callback(say, "closed")
close_soon(stack)
say("left")
"""
    assert ended(program) == (0, ["closed", "left"])
