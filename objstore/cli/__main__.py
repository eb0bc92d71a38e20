"""`python -m objstore.cli`: how the supervisor and its children are started."""

import gc
import sys

gc.disable()  # loading makes no garbage worth looking for; a role enables it again when it is ready

from objstore.cli.main import main  # noqa: E402 the collector must be off before anything is loaded

sys.exit(main())
