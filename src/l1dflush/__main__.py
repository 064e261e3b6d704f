"""``python -m l1dflush``."""

import sys

from l1dflush.cli.main import run

sys.exit(run())
