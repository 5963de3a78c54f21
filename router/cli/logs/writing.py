"""How the server's log is written: one record a line, as text for people or JSON for machines, to a file that rotates.

Nothing that goes wrong with the log costs a request: a full disk, a file or folder that somebody deleted.
"""

import json
import logging
import logging.handlers
import os
import sys
import time
from pathlib import Path
from typing import Any

from router.cli.terminal.output import shown
from router.config.schema import LogFormat, LoggingConfig


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 INFO router.gateway: …`, in local time; `[id]` before what is said for a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line; what strangers sent cannot start another."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        request_id = None if hasattr(record, "http") else getattr(record, "request_id", None)
        about = "" if request_id is None else f"[{request_id}] "
        text = f"{stamp}.{int(record.msecs):03d} {record.levelname} {record.name}: {about}{record.getMessage()}"
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info).replace("\n", " | ")
        return shown(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since 1970), level, logger, request_id, message, http, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line; a request's fields are in `http`."""
        entry: dict[str, Any] = {"time": record.created, "level": record.levelname.lower(), "logger": record.name}
        for name in ("request_id", "http"):
            value = getattr(record, name, None)
            if value is not None:
                entry[name] = value
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class LogFile(logging.handlers.RotatingFileHandler):
    """A file that is put aside when it is large, made anew when somebody has deleted or moved it, and never an error.

    Where a line cannot be written (the disk is full), that is said once on stderr, and the line is lost.
    """

    def __init__(self, path: Path, config: LoggingConfig) -> None:
        super().__init__(
            path,
            maxBytes=config.max_file_bytes,
            backupCount=config.num_old_files,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self._is_failing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self._follow_file()
            super().emit(record)
        except OSError:
            self.handleError(record)

    def doRollover(self) -> None:  # noqa: N802 - the library's name
        """Put the file aside; where that cannot be done, go on with it. Without old files it begins anew."""
        try:
            if self.backupCount:
                super().doRollover()
            elif self.stream is not None:
                self.stream.truncate(0)
        except OSError:
            self.stream = self.stream if self.stream is not None and not self.stream.closed else self._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the library's name
        """Say once that lines are lost, until one could be written again."""
        if not self._is_failing:
            self._is_failing = True
            print(f"mlxr: the log {self.baseFilename} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)

    def flush(self) -> None:
        """Write what is buffered; then all is well again."""
        super().flush()
        self._is_failing = False

    def _follow_file(self) -> None:
        """Open the file anew where its name means another one, or none."""
        if self.stream is None:
            return
        try:
            named, opened = Path(self.baseFilename).stat(), os.fstat(self.stream.fileno())
            is_same = (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
        except FileNotFoundError:
            is_same = False
        if not is_same:
            self.stream.close()
            self.stream = None  # the library opens it when it is needed
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)


def configure_logging(config: LoggingConfig, log_file: Path, *, has_stderr: bool = True) -> None:
    """Send the process's log to stderr, and to the log file if the config wants that.

    Args:
        log_file: Its folder exists.
        has_stderr: Without it stderr has the log only where the config wants no file.

    Raises:
        OSError: The file cannot be opened.
    """
    formatter = JsonFormatter() if config.format is LogFormat.JSON else TextFormatter()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if has_stderr or not config.file else []
    if config.file:
        handlers.append(LogFile(log_file, config))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=config.level.value.upper(), handlers=handlers, force=True)
    # uvicorn tells each step of its start and end, which says nothing to anybody who did not write it.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
    # httpx names whole addresses, and those of a hub's content network have signatures in them.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
