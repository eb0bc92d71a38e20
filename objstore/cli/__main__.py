"""`python -m objstore.cli`: how the supervisor starts its children."""

import sys

from objstore.cli.main import main

sys.exit(main())
