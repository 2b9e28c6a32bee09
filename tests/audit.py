"""Audit an environment: `python tests/audit.py` in its Python, or `make audit`.

It needs no network. Requirements fit each other, and each installed file has the hash that its
package's RECORD gives. An editable package has no files of its own. Bytecode has no hash.
"""

import base64
import hashlib
import subprocess
import sys
from importlib.metadata import distributions


def changed() -> list[str]:
    """The installed files that are missing, or that are not those of their packages."""
    found = []
    for package in distributions():
        for file in package.files or ():
            if file.hash is None:
                continue
            path = package.locate_file(file)
            try:
                content = path.read_bytes()
            except OSError as error:
                found.append(f"{package.name}: {file}: {error}")
                continue
            digest = hashlib.new(file.hash.mode, content).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                found.append(f"{package.name}: {file} is not the file of the package")
    return found


def main() -> int:
    fits = subprocess.run([sys.executable, "-m", "pip", "check"]).returncode == 0
    problems = changed()
    print("\n".join(problems) or "Every installed file has the hash of its package's RECORD.")
    return int(bool(problems) or not fits)


if __name__ == "__main__":
    sys.exit(main())
