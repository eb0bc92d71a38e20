"""Policy documents for tests."""

import json
from typing import Any


def identity_policy(*actions: str, resource: Any = "*", effect: str = "Allow", **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": list(actions), "Resource": resource, **more}]})


def trust_policy(principal: Any, *, action: Any = "sts:AssumeRole", effect: str = "Allow", **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, "Principal": principal, **more}]})
