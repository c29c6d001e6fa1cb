"""What the figures were measured on, and whether it was quiet."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from . import install
from .paths import BENCH, ENVIRONMENT, ROOT

VERSIONS = {
    "nginx": (["nginx", "-v"], r"nginx/(\S+)"),
    "haproxy": (["haproxy", "-v"], r"version (\S+)"),
    "envoy": ([None, "--version"], r"/(\d+\.\d+\.\d+)/"),
    "traefik": (["traefik", "version"], r"Version:\s+(\S+)"),
    "caddy": (["caddy", "version"], r"v(\S+)"),
    "wrk": (["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
    "h2load": (["h2load", "--version"], r"nghttp2/(\S+)"),
    "openssl": (["openssl", "version"], r"OpenSSL (\S+)"),
    "rustc": (["rustc", "--version"], r"rustc (\S+)"),
}


def describe(binary, built):
    return {**hardware(), "versions": versions(binary, built)}


def hardware():
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    return {
        "processor": model[1] if model else platform.machine(),
        "virtual": "hypervisor" in cpuinfo,
        "cores": os.cpu_count(),
        "memory_bytes": int(memory[1]) * 1024,
        "kernel": re.match(r"[\d.]+", platform.release())[0],
        "system": system[1] if system else platform.system(),
    }


def versions(binary, built):
    found = {name: version(*how) for name, how in VERSIONS.items()}
    lock = (BENCH / "pingora-proxy" / "Cargo.lock").read_text()
    pingora = re.search(r'name = "pingora-proxy"\nversion = "(.*)"', lock)
    found["pingora"] = pingora[1] if pingora else "unknown"
    # Of a binary that was given nobody knows the commit.
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True).stdout.strip() if built else ""
    found["ferrix"] = (version([str(binary), "--version"], r"(\d\S+)") or "") + (f" ({commit})" if commit else "")
    return found


def version(command, pattern):
    command = [str(install.envoy()) if word is None else word for word in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=30)
    except OSError:
        return None
    match = re.search(pattern, done.stdout + done.stderr)
    return match[1] if match else None


def busy(seconds):
    """The share of all cores that was used for `seconds`, before we begin: other people's work."""
    before = core_times("cpu")
    time.sleep(seconds)
    return used_share(before, core_times("cpu"))


def core_times(core):
    """Ticks used, and all, of `cpu` (all cores) or `cpu0`, `cpu1`."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == core:
            values = [int(value) for value in values[:8]]
            return sum(values) - values[3] - values[4], sum(values)
    return 0, 0


def used_share(before, after):
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total else 0.0
