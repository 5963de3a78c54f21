"""Where pulled files lie: finished ones below the models folder, others in its hidden `.partial`, where no scan looks.

    models/ORG/REPO/FILE.gguf           of a GGUF repository, as the repository has it
    models/ORG/REPO/                    an MLX model's folder; renamed into place as a whole
    models/url/HOST/FILE.gguf           of a plain URL
    models/.partial/BLOB.part, .json    on its way (`partial.py`), BLOB being kind and value of the hash
    models/.partial/stage-KEY/          verified files of a part that is not complete yet
    models/.partial/replaced-KEY/       an older MLX folder while the new one takes its place
    models/.partial/*.lock              held by whoever works on it

Not here: reading or writing any of them.
"""

import hashlib
import stat
from pathlib import Path
from typing import Final

from registry.facts import ArtifactFormat
from registry.pull_record import PlannedFile, PlannedPart

PARTIAL_NAME: Final = ".partial"
STAGE_PREFIX: Final = "stage-"
REPLACED_PREFIX: Final = "replaced-"


class PullFolder:
    """The names of everything below one models folder."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self.partial_dir = models_dir / PARTIAL_NAME

    def part_file(self, file: PlannedFile) -> Path:
        """Where the bytes of a file gather."""
        return self.partial_dir / f"{blob_of(file)}.part"

    def blob_lock(self, file: PlannedFile) -> Path:
        """Held by whoever fetches these bytes."""
        return self.partial_dir / f"{blob_of(file)}.lock"

    def part_lock(self, part: PlannedPart) -> Path:
        """Held by whoever puts these files into their places; one at a time for an MLX folder."""
        name = part.folder if part.format is ArtifactFormat.MLX else _stage_key(part)
        return self.partial_dir / f"part-{_digest(name)}.lock"

    def pull_lock(self, pull_id: int) -> Path:
        """Held by the process that runs a pull."""
        return self.partial_dir / f"pull-{pull_id}.lock"

    def stage_dir(self, part: PlannedPart) -> Path:
        """Where a part's verified files wait for the others."""
        return self.partial_dir / f"{STAGE_PREFIX}{_digest(_stage_key(part))}"

    def replaced_dir(self, part: PlannedPart) -> Path:
        """Where an older MLX folder waits for its end."""
        return self.partial_dir / f"{REPLACED_PREFIX}{_digest(_stage_key(part))}"

    def staged(self, part: PlannedPart, file: PlannedFile) -> Path:
        """A verified file that waits for the others."""
        return self.stage_dir(part) / file.path

    def target_dir(self, part: PlannedPart) -> Path:
        """Where a part goes."""
        return self.models_dir / part.folder

    def target(self, part: PlannedPart, file: PlannedFile) -> Path:
        """Where a file goes."""
        return self.target_dir(part) / file.path

    def result(self, part: PlannedPart) -> Path:
        """What is registered of a part: the MLX folder, or the first GGUF file."""
        is_folder = part.format is ArtifactFormat.MLX
        return self.target_dir(part) if is_folder else self.target(part, part.files[0])


def blob_of(file: PlannedFile) -> str:
    """Name a file's bytes: by their hash, or by where they come from when no hash is known."""
    if file.sha256 is not None:
        return f"sha256-{file.sha256}"
    return f"sha1-{file.git_sha1}" if file.git_sha1 is not None else f"url-{_digest(file.url)}"


def fingerprint(path: Path) -> tuple[int, int] | None:
    """Give bytes and modification time, ns, of a regular file, links not followed; None when there is none."""
    try:
        info = path.lstat()
    except OSError:
        return None
    return (info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None


def _stage_key(part: PlannedPart) -> str:
    names = sorted(f"{file.path}\0{blob_of(file)}" for file in part.files)
    return "\0".join((part.format, part.repo or "", part.commit or "", part.folder, *names))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]
