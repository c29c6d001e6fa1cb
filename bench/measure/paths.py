"""Where things lie. Nothing is written into the checkout but the report."""

import os
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ferrix" / "bench"
PROGRAMS = CACHE / "programs"
TARGET = CACHE / "target"
RESULTS = CACHE / "results.json"
LOGS = CACHE / "logs"

# Debian puts servers where an ordinary user's path does not look.
SEARCH = f"{PROGRAMS / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
ENVIRONMENT = {**os.environ, "PATH": SEARCH}


def public(text):
    """`text` without the paths of this machine, for results that are published."""
    for path, name in [(CACHE, "CACHE"), (ROOT, "."), (Path.home(), "~")]:
        text = text.replace(str(path), name)
    return text
