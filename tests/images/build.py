"""Builds the images of the test suite and pushes them to a registry: `python -m tests.images.build HOST [NAME...]`.

An image is built anew only when its files or its base changed. All carry the label `skylark.test=1`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.images.bases import busybox_rootfs, debian_rootfs

FOLDER = Path(__file__).parent
LABEL = "skylark.test"
LABEL_KEY = "skylark.test.key"  # names the content that an image was built from


@dataclass(frozen=True)
class Recipe:
    """One tag of a test image."""

    tag: str
    dockerfile: str = "Dockerfile"
    version: str = ""


LATEST = (Recipe("latest"),)
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "busybox": LATEST,
    "web": (
        Recipe("v1", version="v1"),
        Recipe("latest", version="v1"),
        Recipe("v2", version="v2"),
        Recipe("healthy", "Dockerfile.healthy", "healthy"),
        Recipe("sick", "Dockerfile.sick", "sick"),
    ),
    "stubborn": LATEST,
    "crasher": LATEST,
    "burner": LATEST,
    "chatty": LATEST,
    "mill": (Recipe("v1", version="v1"), Recipe("v2", version="v2")),
    "sshd": LATEST,
    "page": (Recipe("v1", version="v1"), Recipe("v2", version="v2")),
}
BASES = {"busybox": "", "sshd": "", "page": "sshd"}  # the others stand on busybox


def build(client: docker.APIClient, name: str) -> tuple[str, ...]:
    """Build all tags of one image unless they are there; answer them as `skylark-test/<name>:<tag>`."""
    below = BASES.get(name, "busybox")
    base = build(client, below)[0] if below else ""
    built = []
    for recipe in RECIPES[name]:
        local = f"skylark-test/{name}:{recipe.tag}"
        files = _files(name)
        key = _key(files, recipe, client.inspect_image(base)["Config"]["Labels"][LABEL_KEY] if base else "")
        if not _tag_built(client, key, local):
            _build(client, files, recipe, key, local)
        built.append(local)
    return tuple(built)


def push(client: docker.APIClient, local: str, target: str, auth: dict[str, str] | None = None) -> None:
    """Push the local image as `target` (host/name:tag); the engine keeps the local name only."""
    repository, _, tag = target.rpartition(":")
    client.tag(local, repository, tag)
    try:
        for message in client.push(repository, tag, stream=True, decode=True, auth_config=auth or {}):
            if "error" in message:
                raise RuntimeError(f"push of {target} failed: {message['error']}")
    finally:
        client.remove_image(target, noprune=True)


def push_image(client: docker.APIClient, name: str, host: str, auth: dict[str, str] | None = None) -> str:
    """Build and push all tags of one image; answer its name in the registry, `<host>/skylark-test/<name>`."""
    for local in build(client, name):
        push(client, local, f"{host}/{local}", auth)
    return f"{host}/skylark-test/{name}"


def _files(name: str) -> dict[str, bytes]:
    """The build context, by path."""
    if name == "busybox":
        start = b'FROM scratch\nADD rootfs.tar /\nENV PATH=/bin\nCMD ["sh"]\n'
        return {"Dockerfile": start, "rootfs.tar": busybox_rootfs()}
    files = {path.name: path.read_bytes() for path in sorted((FOLDER / name).iterdir()) if path.is_file()}
    if name == "sshd":
        files["rootfs.tar.gz"] = debian_rootfs()
    return files


def _key(files: dict[str, bytes], recipe: Recipe, base_key: str) -> str:
    content = hashlib.sha256(f"{recipe.dockerfile} {recipe.version} {base_key}".encode())
    for path, data in files.items():
        content.update(path.encode() + b"\0" + hashlib.sha256(data).digest())
    return content.hexdigest()


def _tag_built(client: docker.APIClient, key: str, local: str) -> bool:
    found = client.images(filters={"label": [f"{LABEL_KEY}={key}"]}, quiet=True)
    return bool(found) and bool(client.tag(found[0], *local.split(":")))


def _build(client: docker.APIClient, files: dict[str, bytes], recipe: Recipe, key: str, local: str) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    messages = client.build(
        fileobj=context,
        custom_context=True,
        dockerfile=recipe.dockerfile,
        tag=local,
        buildargs={"VERSION": recipe.version} if recipe.version else {},
        labels={LABEL: "1", LABEL_KEY: key},
        rm=True,
        forcerm=True,
        decode=True,
    )
    for message in messages:
        if "error" in message:
            raise RuntimeError(f"build of {local} failed: {message['error']}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the test images and push them to a registry.")
    parser.add_argument("host", help="registry, such as 127.0.0.1:5000")
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {' '.join(RECIPES)}; default: all but sshd and page"
    )
    given = parser.parse_args()
    client = docker.APIClient(version="auto", timeout=600)
    for name in given.names or [name for name in RECIPES if name not in ("sshd", "page")]:
        print(push_image(client, name, given.host))


if __name__ == "__main__":
    main()
