"""Write the API's document to stdout, for the types of the page: python -m router.web.schema."""

import sys

from router.protocols.openapi import ApiDocument
from router.protocols.table import DIALECTS, ENDPOINTS
from router.version import VERSION


def main() -> None:
    """Write it."""
    sys.stdout.buffer.write(ApiDocument(VERSION, ENDPOINTS, DIALECTS).text)


if __name__ == "__main__":
    main()
