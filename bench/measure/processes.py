"""Programs that the benchmark starts, and what the kernel says of them."""

import os
import re
import signal
import subprocess
from pathlib import Path

from .paths import ENVIRONMENT, LOGS

TICK = os.sysconf("SC_CLK_TCK")


class Process:
    """A program on the cores given, with its children. What it says goes to a file."""

    def __init__(self, name, cores, command, environment=None):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{name}.log"
        command = ["taskset", "-c", cores, *map(str, command)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**ENVIRONMENT, **(environment or {})},
            )

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def last_words(self):
        return self.log.read_text(errors="replace").strip()[-600:]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        """Its children too: they would be orphans that hold the ports. It goes first, because nginx replaces a
        worker that is gone."""
        for pid in self.tree():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(5)

    def tree(self):
        """Its process id and its children's."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            children = []
        return [self.pid, *map(int, children)]

    def cpu(self):
        """Seconds used so far: all, in user mode, in the kernel. All is exact to the nanosecond;
        how it is split comes from samples of the clock."""
        total = user = system = 0
        for pid in self.tree():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return total / 1e9, user / TICK, system / TICK

    def resident(self):
        """Bytes in memory. Pages that a master shares with its worker count once."""
        text = "".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.tree())
        return sum(int(size) for size in re.findall(r"^Pss:\s+(\d+) kB", text, re.M)) * 1024
