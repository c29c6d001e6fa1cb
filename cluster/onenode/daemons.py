"""Starts and kills the daemons of a cluster, each with a log and a file with its process id."""

import subprocess

from . import cgroups, network
from .commands import Failure, last_lines


class Daemon:
    """A daemon that this process has started."""

    def __init__(self, cluster, name, process):
        self.name = name
        self.log = cluster.log(name)
        self.process = process

    def fail_if_ended(self):
        if self.process.poll() is not None:
            lines = last_lines(self.log.read_text(errors="replace"))
            raise Failure(f"{self.name} ended: {lines} (more in {self.log})")


def start(cluster, name, command, prefix=(), **options):
    """Starts a daemon in the node's network; `prefix` goes between that and the command.

    It gets a session of its own, so that a terminal's Ctrl-C after `up` does not reach it, and is
    in the cluster's control group if this process is.
    """
    command = [*network.enter(cluster), *prefix, *command]
    with cluster.log(name).open("a") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **options,
        )
    cluster.pid_file(name).write_text(f"{process.pid}\n")
    return Daemon(cluster, name, process)


def pid(cluster, name):
    """The process id of a daemon that runs, else None.

    The control group is asked too, because a number in a file may long belong to somebody else.
    """
    try:
        number = int(cluster.pid_file(name).read_text())
    except FileNotFoundError:
        return None
    return number if number in cgroups.processes(cluster) else None


def kill(cluster, name):
    """Ends a daemon as a power cut would, without a chance to say goodbye to anyone."""
    if pid(cluster, name) is None:
        raise Failure(f'{name} of the cluster "{cluster.name}" is not running')
    cgroups.kill_all(lambda: [number for number in [pid(cluster, name)] if number])
    cluster.pid_file(name).unlink()
