"""Makes container images from files of this machine, and gives them to a cluster."""

import dataclasses
import hashlib
import io
import json
import platform
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from . import binaries
from .commands import Failure, run, wait_until

PAUSE = "ferrix.invalid/pause:1"

USER = 65532
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclasses.dataclass(frozen=True)
class Image:
    """The files are {file: path in the image}; the user's number is the group's, too."""

    reference: str
    entrypoint: str
    files: dict
    user: int = USER


def import_pause(cluster):
    import_image(cluster, Image(PAUSE, "/pause", {binaries.program("pause"): "/pause"}))


def import_image(cluster, image):
    """Makes the image and imports it into containerd; returns the whole name that it has."""
    with tempfile.NamedTemporaryFile(dir=cluster.data) as archive:
        reference = write_image(archive, image)
        archive.flush()
        run([*ctr(cluster), "images", "import", archive.name])
    # containerd itself hears of the new image a moment later than it answers.
    wait_until(f"the image {reference} in containerd", lambda: is_known(cluster, reference), 20)
    return reference


def write_image(output, image):
    """Writes the image; returns the whole name that it has."""
    if image.entrypoint not in image.files.values():
        raise Failure(f"--entrypoint {image.entrypoint} is none of the files of the image")
    reference = full_reference(image.reference)
    contents = {}
    for file, path in image.files.items():
        if not Path(file).is_file():
            raise Failure(f"{file} is not a file")
        if not path.startswith("/"):
            raise Failure(f"{path}: give the whole path in the image, it begins with /")
        for library in shared_libraries(file):
            contents[library] = library
        contents[path] = str(file)
    write_archive(output, reference, image, layer(contents))
    return reference


def ctr(cluster):
    return ["ctr", "--address", str(cluster.containerd_socket), "--namespace", "k8s.io"]


def is_known(cluster, reference):
    listing = run([*ctr(cluster), "images", "list", f"name=={reference}"])
    return "io.cri-containerd.image=managed" in listing


def full_reference(reference):
    """The reference as the kubelet looks it up: with the registry and the tag written out."""
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif not re.search(r"[.:]|^localhost$", first):
        reference = f"docker.io/{reference}"
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def shared_libraries(file):
    """The paths of the loader and the libraries that a dynamically linked program needs."""
    with open(file, "rb") as program:
        if program.read(4) != b"\x7fELF":
            return []
    result = subprocess.run(["ldd", str(file)], capture_output=True, text=True)
    if "not a dynamic executable" in result.stderr or "statically linked" in result.stdout:
        return []
    if result.returncode != 0 or "not found" in result.stdout:
        message = (result.stdout + result.stderr).strip()
        raise Failure(f"cannot find the libraries of {file}: {message}")
    return re.findall(r"(/\S+) \(0x", result.stdout)


def layer(contents):
    """A tar archive with these {path: file} and what a program expects of every system."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {"/tmp": 0o1777, "/etc": 0o755}
        for path in contents:
            for folder in list(Path(path).parents)[:-1]:
                folders.setdefault(str(folder), 0o755)
        for folder in sorted(folders):
            add(archive, folder, folders[folder], kind=tarfile.DIRTYPE)
        passwd = (
            "root:x:0:0:root:/:/sbin/nologin\n"
            f"nonroot:x:{USER}:{USER}:nonroot:/tmp:/sbin/nologin\n"
        )
        add(archive, "/etc/passwd", 0o644, passwd.encode())
        add(archive, "/etc/group", 0o644, f"root:x:0:\nnonroot:x:{USER}:\n".encode())
        for path, file in sorted(contents.items()):
            mode = 0o755 if Path(file).stat().st_mode & 0o100 else 0o644
            add(archive, path, mode, Path(file).read_bytes())
    return buffer.getvalue()


def write_archive(output, reference, image, layer_content):
    """Writes the form of `docker save`, which containerd imports: settings, layers, a list."""
    settings = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": [image.entrypoint],
            "User": f"{image.user}:{image.user}",
            "WorkingDir": "/",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer_content)}"]},
    }
    settings = json.dumps(settings).encode()
    listing = {
        "Config": f"{digest(settings)}.json",
        "RepoTags": [reference],
        "Layers": [f"{digest(layer_content)}/layer.tar"],
    }
    with tarfile.open(fileobj=output, mode="w") as archive:
        add(archive, listing["Config"], 0o644, settings)
        add(archive, listing["Layers"][0], 0o644, layer_content)
        add(archive, "manifest.json", 0o644, json.dumps([listing]).encode())


def add(archive, path, mode, content=b"", kind=tarfile.REGTYPE):
    """Adds a file or folder of root's, without a date: the same files give the same image."""
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type = kind
    entry.mode = mode
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def digest(content):
    return hashlib.sha256(content).hexdigest()
