"""`python -m router.cli`: the same as the console script `mlxr`."""

import sys

from router.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
