"""Calls on audits of usage, which Nova's hosts can be told to make every month: none of this cloud's does, and the answer says so.

What projects used is told by os-simple-tenant-usage from the records themselves.
"""

import re
from datetime import UTC, datetime

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import View

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,6})?")
_SHOWN = "%Y-%m-%d %H:%M:%S"


class AuditCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        path = "/v2.1/os-instance_usage_audit_log"
        return {("GET", path): self.last, ("GET", path + "/{before}"): self.before}

    async def last(self, call: Call) -> Answer:
        """Of the last month that ended."""
        call.check_admin()
        now = datetime.fromtimestamp(self._service.now_us() // 1_000_000, UTC)
        return Answer(body={"instance_usage_audit_logs": await self._view(now)})

    async def before(self, call: Call) -> Answer:
        """Of the last month that ended before a time."""
        call.check_admin()
        text = call.parameters["before"]
        if _TIME.fullmatch(text) is None:
            raise bad_request(f"Invalid timestamp for date {text[:64]}")
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise bad_request(f"Invalid timestamp for date {text[:64]}") from None
        return Answer(body={"instance_usage_audit_log": await self._view(when)})

    async def _view(self, when: datetime) -> View:
        end = when.replace(day=1, hour=0, minute=0, second=0)
        begin = end.replace(year=max(end.year - 1, 1), month=12) if end.month == 1 else end.replace(month=end.month - 1)
        hosts = [host.name for host in await self._service.hosts.all()]
        return {
            "period_beginning": begin.strftime(_SHOWN), "period_ending": end.strftime(_SHOWN), "num_hosts": len(hosts), "num_hosts_done": 0,
            "num_hosts_running": 0, "num_hosts_not_run": len(hosts), "hosts_not_run": hosts, "total_instances": 0, "total_errors": 0,
            "overall_status": f"0 of {len(hosts)} hosts done. 0 errors.", "log": {},
        }  # fmt: skip
