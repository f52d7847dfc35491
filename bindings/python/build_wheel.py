"""Builds the wheel: the package with the library in it. A build backend as PEP 517 has it, for `pip wheel .`; or

    python3 build_wheel.py FOLDER    writes it there, and prints its path

The library is $HOSTCRST_LIBRARY, otherwise cargo builds it. The version is that of Cargo.toml.
"""

import base64
import hashlib
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE = "hostcrst"


def manifest(key):
    text = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(rf'^{key} = "(.*)"$', text, re.MULTILINE)[1]


def library():
    """The bytes of libhostcrst.so."""
    given = os.environ.get("HOSTCRST_LIBRARY")
    if given:
        return pathlib.Path(given).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ROOT / "scripts" / "c-library", folder, "--quiet"], check=True)
        return pathlib.Path(folder, "libhostcrst.so").read_bytes()


def metadata():
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    head = {
        "Metadata-Version": "2.1",
        "Name": PACKAGE,
        "Version": manifest("version"),
        "Summary": "Critical sections that refuse deadlocks, and reports of who waits for whom",
        "License": manifest("license"),
        "Requires-Python": ">=3.8",
        "Description-Content-Type": "text/markdown",
    }
    return "".join(f"{key}: {value}\n" for key, value in head.items()) + "\n" + readme


def tag():
    """For this machine: a library that cargo builds here may need what an older system lacks."""
    return f"py3-none-linux_{platform.machine()}"


def contents():
    """(name, bytes) of each file of the wheel, but for its RECORD."""
    for path in sorted((HERE / "src" / PACKAGE).iterdir()):
        if path.is_file():
            yield f"{PACKAGE}/{path.name}", path.read_bytes()
    yield f"{PACKAGE}/libhostcrst.so.0", library()
    info = f"{PACKAGE}-{manifest('version')}.dist-info"
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        yield f"{info}/licenses/{name}", (ROOT / name).read_bytes()
    yield f"{info}/METADATA", metadata().encode()
    yield f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: hostcrst\nRoot-Is-Purelib: false\nTag: {tag()}\n".encode()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """The hook of PEP 517; returns the name of the file."""
    name = f"{PACKAGE}-{manifest('version')}-{tag()}.whl"
    files = list(contents())
    record, info = [], f"{PACKAGE}-{manifest('version')}.dist-info"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files:
            wheel.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")
        record.append(f"{info}/RECORD,,\n")
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join(record))
    return name


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("the source of the library is not in this folder: build a wheel")


if __name__ == "__main__":
    print(pathlib.Path(sys.argv[1], build_wheel(sys.argv[1])))
