"""One scenario of a benchmark, whatever comes of it."""

import sys
import time
import traceback

from . import machine
from .failure import Failure
from .paths import public


def attempt(name, smoke, scenario):
    """What `scenario()` measures, or why it could not, and how busy others kept the machine before."""
    # Others' work, while all of ours is still.
    busy = machine.busy(0.2 if smoke else 2)
    print(f"{name}: ...", end="", flush=True, file=sys.stderr)
    begin = time.monotonic()
    try:
        data = scenario()
    except Failure as failure:
        data = {"error": public(str(failure))}
    except Exception as error:  # A fault of the benchmark costs one scenario, not the run.
        traceback.print_exc()
        data = {"error": public(f"{type(error).__name__}: {error}")}
    seconds = time.monotonic() - begin
    print(f" {seconds:.0f} s", file=sys.stderr)
    return {"busy_before": round(busy, 3), "seconds": round(seconds, 1), "data": data}
