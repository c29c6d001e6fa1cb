"""Kubernetes, etcd, Helm and the pause program, compiled once and kept outside the checkout."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .commands import Failure

SOURCE = Path(__file__).resolve().parent.parent / "binaries"


def folder():
    """The folder of the compiled programs; its name changes whenever their sources do."""
    cache = os.environ.get("FERRIX_CLUSTER_CACHE") or Path.home() / ".cache/ferrix/cluster"
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "pause/main.go"):
        digest.update((SOURCE / name).read_bytes())
    digest.update(linker_flags().encode())
    return Path(cache) / digest.hexdigest()[:16]


def program(name):
    file = folder() / name
    if not file.exists():
        raise Failure(f"{file} is missing: run `cluster install`")
    return file


def build():
    """Compiles everything into a temporary folder that is renamed at the very end.

    An interrupted build therefore never looks like a finished one; the Go build cache makes the
    next try go on where this one stopped.
    """
    target = folder()
    if target.exists():
        print(f"Kubernetes, etcd and Helm: compiled already, in {target}")
        return
    if not shutil.which("go"):
        raise Failure("Go is missing: install Go 1.26 or newer, it compiles Kubernetes")
    print("Kubernetes, etcd and Helm: compiling (seven to nine minutes on two cores)", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=target.parent) as scratch:
        output = Path(scratch) / "programs"
        output.mkdir()
        result = subprocess.run(
            ["nice", "go", "build", "-trimpath", "-ldflags", linker_flags(), "-o", output,
             "tool", "./pause"],
            cwd=SOURCE,
            # Without C the programs are static, and all of them share their compiled packages.
            env=dict(os.environ, CGO_ENABLED="0"),
        )  # fmt: skip
        if result.returncode != 0:
            raise Failure("compiling failed, see the lines above")
        # Go names a program after the folder of its source.
        (output / "server").rename(output / "etcd")
        try:
            output.rename(target)
        except OSError:
            if not target.exists():  # else another run was first
                raise
    print(f"Kubernetes, etcd and Helm: compiled, in {target}")


def linker_flags():
    """Programs built as modules do not know their version: the linker writes it into them."""
    pinned = (SOURCE / "go.mod").read_text()
    kubernetes = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", pinned)
    helm = re.search(r"helm\.sh/helm/v4 (v[\d.]+)", pinned)
    flags = ["-s -w", f"-X helm.sh/helm/v4/internal/version.version={helm[1]}"]
    # The first is what programs print, the second what they call themselves in the audit log.
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        flags += [
            f"-X {package}.gitVersion={kubernetes[1]}",
            f"-X {package}.gitMajor={kubernetes[2]}",
            f"-X {package}.gitMinor={kubernetes[3]}",
        ]
    return " ".join(flags)
