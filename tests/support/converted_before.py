"""Stands in for the process that converts: does what one did before, without the engines that it would import.

`python -S -m tests.support.converted_before FOLDER NAME convert|parity ...`: NAME is of the module that it stands in
for. What the folder has no record of, that module does, and it is recorded.
"""

import shutil
import subprocess
import sys
from pathlib import Path


def main(folder: Path, name: str, *argv: str) -> None:
    engine = argv[argv.index("--engine") + 1] if "--engine" in argv else "out"
    record = folder / f"{argv[0]}-{engine}"
    out = Path(argv[argv.index("--out") + 1]) if "--out" in argv else None
    reply = record / "reply"
    if not reply.exists():
        done = subprocess.run([sys.executable, "-P", "-m", name, *argv], stdout=subprocess.PIPE, check=True)
        record.mkdir(parents=True)
        if out is not None:
            shutil.copytree(out, record / "made")
        reply.write_bytes(done.stdout)
    elif out is not None:
        shutil.copytree(record / "made", out, dirs_exist_ok=True)
    sys.stdout.buffer.write(reply.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
