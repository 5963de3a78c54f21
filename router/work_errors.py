"""What can go wrong with work that outlives a request: stored responses, files, batches, conversions, benchmarks.

router.errors.RouterError
├── ResponseNotFoundError            response_not_found
├── FileNotFoundHereError            file_not_found
├── FileInUseError                   file_in_use
├── BatchNotFoundError               batch_not_found
├── ConversionError                  conversion_failed
├── ConversionNotFoundError          conversion_not_found
└── BenchError                       invalid_bench
└── BenchRunningError            bench_running
"""

from router.errors import RouterError


class ResponseNotFoundError(RouterError):
    """No response of that id is kept: it was not stored, was deleted, or there never was one."""

    code = "response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id {response_id!r:.80} not found.", param="response_id")


class FileNotFoundHereError(RouterError):
    """No file of that id is kept."""

    code = "file_not_found"

    def __init__(self, file_id: str, param: str) -> None:
        super().__init__(f"There is no file {file_id!r:.80}; GET /v1/files lists those there are.", param=param)


class FileInUseError(RouterError):
    """A batch that has not ended reads the file."""

    code = "file_in_use"

    def __init__(self, file_id: str, batch_id: str) -> None:
        super().__init__(f"{file_id} is read by {batch_id}, which has not ended; cancel that first.", param="file_id")


class BatchNotFoundError(RouterError):
    """There is no batch of that id."""

    code = "batch_not_found"

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"There is no batch {batch_id!r:.80}; GET /v1/batches lists those there are.", param="batch_id"
        )


class ConversionError(RouterError):
    """A model cannot be converted; one sentence with the way out."""

    code = "conversion_failed"


class ConversionNotFoundError(RouterError):
    """Nothing is being made of that model."""

    code = "conversion_not_found"


class BenchError(RouterError):
    """A benchmark cannot be run as it was asked for, or could not be run to an end."""

    code = "invalid_bench"


class BenchRunningError(BenchError):
    """Another benchmark runs: two at once would measure each other."""

    code = "bench_running"

    def __init__(self, message: str = "Another benchmark runs on this server; wait for its end.") -> None:
        super().__init__(message)
