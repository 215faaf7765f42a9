"""``python -m protogcn.cli`` is ``protogcn``."""

import sys

from protogcn.cli import main

if __name__ == "__main__":
    sys.exit(main())
