"""Errors of the registry: every failure that a caller of this package may see.

Not here: HTTP statuses and protocol shapes (the router has the one table for those).

    RegistryError                   registry_error
    ├── ArtifactError               what is wrong with a file or a folder on disk
    │   ├── GGUFError               a `.gguf` header that breaks a rule of the format; has `offset`
    │   └── MLXDirError             a folder that is no usable MLX model; has `file`
    ├── InvalidModelNameError       invalid_model_name
    ├── ModelNotFoundError          model_not_found
    │   └── AdapterNotFoundError    adapter_not_found
    ├── ModelExistsError            model_exists
    ├── ArtifactConflictError       artifact_conflict
    ├── InvalidSettingError         invalid_setting
    ├── BenchNotFoundError          bench_not_found
    ├── PullError                   pull_failed
    │   ├── InvalidReferenceError   invalid_pull_reference
    │   ├── NothingToPullError      nothing_to_pull
    │   ├── PullConflictError       pull_conflict
    │   ├── PullUnfinishedError     the code of what could not be done
    │   ├── PullNotFoundError       pull_not_found
    │   ├── PullDiskFullError       insufficient_disk
    │   ├── PullStoreError          pull_store_unwritable
    │   └── HubError                what the hub did not give; has further subclasses
    └── DatabaseError               registry_database_error
        ├── RegistryBusyError       registry_busy
        ├── RegistryFullError       registry_full
        ├── RegistryReadOnlyError   registry_read_only
        ├── RegistryCorruptError    registry_corrupt
        └── SchemaTooNewError       registry_too_new
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class RegistryError(Exception):
    """Base of every error that the registry raises.

    Attributes:
        code: Stable, lower-case, machine-readable name of the failure. A class has one; ArtifactError and its
            subclasses, and PullUnfinishedError, narrow it per instance.
    """

    code: str = "registry_error"

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        """Give a class of errors its code; without one it has that of its base."""
        super().__init_subclass__()
        if code is not None:
            cls.code = code


class ArtifactError(RegistryError, code="bad_artifact"):
    """A file or folder that cannot be (part of) an artifact.

    Attributes:
        code: What is wrong, e.g. `not_a_regular_file`, `unreadable`, `not_found`, `incomplete_split`.
        reason: The sentence for the user, without the path.
        path: Where it was found, or None when the bytes did not come from a file.
    """

    def __init__(self, code: str, reason: str, *, path: "Path | None" = None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path}: {self.reason}"


class GGUFError(ArtifactError):
    """A GGUF header that breaks a rule of the format or one of our limits.

    Attributes:
        offset: Byte offset in the file of the value that broke the rule.
    """

    def __init__(self, code: str, offset: int, reason: str, *, path: "Path | None" = None) -> None:
        super().__init__(code, reason, path=path)
        self.offset = offset

    def __str__(self) -> str:
        return f"{super().__str__()} (at byte {self.offset})"


class MLXDirError(ArtifactError):
    """A folder that is no usable MLX model.

    Attributes:
        file: Name, inside the folder, of the file at fault; None when the folder as a whole is.
    """

    def __init__(self, code: str, reason: str, *, file: str | None = None, path: "Path | None" = None) -> None:
        super().__init__(code, reason, path=path)
        self.file = file

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.file is None else f"{text} (in {self.file})"


class InvalidModelNameError(RegistryError, code="invalid_model_name"):
    """A text that is no model name; `names.py` has the grammar."""


class ModelNotFoundError(RegistryError, code="model_not_found"):
    """No model and no alias has this name.

    Attributes:
        near: Names that look like it, best first; may be empty.
    """

    def __init__(self, name: str, near: "Sequence[str]" = ()) -> None:
        self.name = name
        self.near = tuple(near)
        hint = f" Did you mean {' or '.join(self.near)}?" if self.near else " `mlxr models list` shows what there is."
        super().__init__(f"There is no model {name!r}.{hint}")


class AdapterNotFoundError(ModelNotFoundError, code="adapter_not_found"):
    """The model is there, but it has no adapter of this name.

    Attributes:
        name: What was asked for, `MODEL+ADAPTER`.
        near: The model's adapters, as requests name them.
    """

    def __init__(self, model: str, adapter: str, known: "Sequence[str]") -> None:
        super().__init__(f"{model}+{adapter}", [f"{model}+{name}" for name in dict.fromkeys(known)])
        hint = (
            f"It has: {', '.join(self.near)}."
            if self.near
            else f"It has none; `mlxr models adapter add {model} PATH` adds one."
        )
        self.args = (f"The model {model!r} has no adapter {adapter!r}. {hint}",)


class ModelExistsError(RegistryError, code="model_exists"):
    """The name is already the name of another model, or an alias."""


class ArtifactConflictError(RegistryError, code="artifact_conflict"):
    """The model already has an artifact of this format, or the artifact cannot be moved as asked."""


class InvalidSettingError(RegistryError, code="invalid_setting"):
    """A setting whose key or value cannot be stored."""


class BenchNotFoundError(RegistryError, code="bench_not_found"):
    """No run of the benchmark has this name, or several begin so."""


class PullError(RegistryError, code="pull_failed"):
    """A model could not be fetched. The text says what is wrong and the way out."""


class InvalidReferenceError(PullError, code="invalid_pull_reference"):
    """A text that names nothing that could be pulled; `hub/references.py` has the grammar."""


class NothingToPullError(PullError, code="nothing_to_pull"):
    """The repository is there, but has nothing of what was asked for."""


class PullConflictError(PullError, code="pull_conflict"):
    """What was asked does not go with the state of the pull, or with what lies where the model would go."""


class PullUnfinishedError(PullError, code="pull_unfinished"):
    """All files came, but what was to follow could not be done; `code` is that failure's own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class PullNotFoundError(PullError, code="pull_not_found"):
    """No pull has this number, or none that is for whoever asks."""

    @classmethod
    def of(cls, pull_id: int) -> "PullNotFoundError":
        """Make one for a number."""
        return cls(f"There is no pull {pull_id}; `mlxr models pulls` lists them.")


class PullDiskFullError(PullError, code="insufficient_disk"):
    """The disk has too little space; what was fetched so far is kept, so that the pull can go on."""


class PullStoreError(PullError, code="pull_store_unwritable"):
    """The models folder cannot be read or written."""


class HubError(PullError, code="hub_error"):
    """The hub did not give what was asked of it."""


class HubAnswerError(HubError, code="hub_bad_answer"):
    """The hub's answer breaks the protocol, is too large, or names what no hub may name."""


class HubNotFoundError(HubError, code="hub_not_found"):
    """The hub has no such repository, revision or file, or hides it from this user."""


class HubAuthError(HubError, code="hub_unauthorized"):
    """The hub wants a token, or refuses the one it got."""


class HubGatedError(HubError, code="hub_gated"):
    """The repository's licence must be accepted first."""


class HubBusyError(HubError, code="hub_busy"):
    """The hub asks to come back later than anybody would wait."""


class HubUnreachableError(HubError, code="hub_unreachable"):
    """The hub cannot be reached, or went silent."""


class HubOfflineError(HubError, code="hub_offline"):
    """The user wants nothing to be fetched from the network."""


class TransferError(PullError, code="transfer_failed"):
    """The bytes of a file could not be fetched; what was fetched so far is kept."""


class WrongHashError(TransferError, code="wrong_hash"):
    """The bytes that came twice are not those that were announced; they were thrown away."""


class DatabaseError(RegistryError, code="registry_database_error"):
    """The catalogue's SQLite file could not be read or written."""


class RegistryBusyError(DatabaseError, code="registry_busy"):
    """Another process holds the write lock longer than the busy timeout; trying again later helps."""


class RegistryFullError(DatabaseError, code="registry_full"):
    """The disk is full; the transaction was rolled back and the catalogue is as before."""


class RegistryReadOnlyError(DatabaseError, code="registry_read_only"):
    """The catalogue's file or folder cannot be written by this user."""


class RegistryCorruptError(DatabaseError, code="registry_corrupt"):
    """The catalogue's file is damaged or is no SQLite database."""


class BackupError(DatabaseError, code="registry_backup_failed"):
    """A copy of the catalogue could not be made, or a file is no copy that could take the catalogue's place."""


class SchemaTooNewError(DatabaseError, code="registry_too_new"):
    """The catalogue was written by a newer mlxr than this one."""
