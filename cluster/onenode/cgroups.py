"""One control group per cluster: it holds the containers, and tells which processes to end.

The version 1 hierarchies are mounted one by one, and the kubelet wants its root group in each.
"""

import os
import signal
import time
from pathlib import Path

from .commands import Failure


def mounted(kind):
    """The hierarchies that are mounted as `kind`, as {folder: options of the mount}."""
    found = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, folder, of_kind, options, *_ = line.split()
        if of_kind == kind:
            found[Path(folder)] = options.split(",")
    return found


def hierarchies():
    """Those of version 1; the controllers are among the options of the mount."""
    found = mounted("cgroup")
    if not found:
        raise Failure(
            "no version 1 control groups are mounted here; the cluster is not made for version 2"
        )
    return found


def pids_hierarchy():
    for folder, controllers in hierarchies().items():
        if "pids" in controllers:
            return folder
    raise Failure("the control group hierarchy with the controller `pids` is not mounted")


def create(cluster):
    for folder, controllers in hierarchies().items():
        group = folder / cluster.cgroup
        group.mkdir(exist_ok=True)
        if "cpuset" in controllers:
            # A new group has no processors and no memory until it is told which.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((folder / setting).read_text())


def join(cluster):
    """Moves the calling process, and so all that it will start, into the cluster's group.

    Only in the hierarchy `pids`, which limits nothing: the daemons stay within the limits of
    whoever started them, and can still be told from everything else on the machine. An `up` that
    got stuck is a member too, so that `down` ends it.
    """
    members = pids_hierarchy() / cluster.cgroup / "daemons" / "cgroup.procs"
    members.parent.mkdir(exist_ok=True)
    members.write_text(str(os.getpid()))


def processes(cluster):
    found = []
    for members in (pids_hierarchy() / cluster.cgroup).rglob("cgroup.procs"):
        try:
            found += map(int, members.read_text().split())
        except OSError:  # the group went away meanwhile
            continue
    return found


def kill_all(pids_of, seconds=20):
    """Kills what `pids_of` lists until it lists nothing: a process may start others meanwhile."""
    deadline = time.monotonic() + seconds
    while pids := pids_of():
        if time.monotonic() > deadline:
            raise Failure(f"these processes do not end: {pids}")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def remove(cluster, seconds=10):
    """Removes the emptied groups; the kernel may need a moment after the last process."""
    deadline = time.monotonic() + seconds
    # runc also makes groups in the version 2 hierarchy where one is mounted next to the others.
    for folder in [*mounted("cgroup"), *mounted("cgroup2")]:
        top = folder / cluster.cgroup
        while top.exists():
            try:
                for path, _, _ in os.walk(top, topdown=False):
                    os.rmdir(path)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failure(f"cannot remove the control group {path}: {error}") from None
                time.sleep(0.05)
