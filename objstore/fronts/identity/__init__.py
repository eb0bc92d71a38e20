"""OpenStack's Identity API, version 3, over HTTP."""
