"""Runs other programs, and words what goes wrong for the person at the terminal."""

import subprocess
import time


class Failure(Exception):
    """Something the user has to know; printed as one line, without a traceback."""


def run(command, **options):
    """Runs a program to its end and returns what it printed; a failing program is a Failure."""
    options.setdefault("stdout", subprocess.PIPE)
    result = subprocess.run(
        [str(part) for part in command], stderr=subprocess.PIPE, text=True, **options
    )
    if result.returncode != 0:
        raise Failure(f"{command[0]} failed: {last_lines(result.stderr) or 'no message'}")
    return result.stdout


def last_lines(text, count=3):
    return " | ".join(line.strip() for line in text.strip().splitlines()[-count:])


def wait_until(what, condition, seconds, daemons=()):
    """Polls `condition` until it returns something true.

    `daemons` are those that the condition needs: when one of them ends, waiting longer is useless.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            result = condition()
            reason = ""
        except Failure as failure:
            result = None
            reason = f" ({failure})"
        if result:
            return result
        for daemon in daemons:
            daemon.fail_if_ended()
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for: {what}{reason}")
        time.sleep(0.1)
