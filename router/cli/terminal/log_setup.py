"""Where the gateway's log goes and how a record looks: one line each, whatever is in it. Not here: what is logged."""

import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path
from typing import Final

from router.cli.terminal.output import shown
from router.config.schema import LogFormat, LoggingConfig

MAX_LOG_BYTES: Final = 10_000_000
NUM_OLD_LOGS: Final = 3


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 INFO router.gateway: …`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line; what strangers sent cannot start another."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        text = f"{stamp}.{int(record.msecs):03d} {record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info).replace("\n", " | ")
        return shown(text)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (seconds since 1970), level, logger, message, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line."""
        entry = {"time": record.created, "level": record.levelname.lower(), "logger": record.name}
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure_logging(config: LoggingConfig, log_file: Path) -> None:
    """Send the process's log to stderr, and to the log file if the config wants that.

    Args:
        config: Level, format, file or not.
        log_file: Its folder exists; at 10 MB it is put aside, three old ones are kept.

    Raises:
        OSError: The file cannot be opened.
    """
    formatter = JsonFormatter() if config.format is LogFormat.JSON else TextFormatter()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if config.file:
        handlers.append(
            logging.handlers.RotatingFileHandler(
                log_file, maxBytes=MAX_LOG_BYTES, backupCount=NUM_OLD_LOGS, encoding="utf-8", errors="backslashreplace"
            )
        )
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=config.level.value.upper(), handlers=handlers, force=True)
    # uvicorn tells each step of its start and end, which says nothing to anybody who did not write it.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
    # httpx names whole addresses, and those of a hub's content network have signatures in them.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
