"""``python -m mirrorproxy``: the same as the console script."""

import sys

from mirrorproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
