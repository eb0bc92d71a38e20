"""Jobs that switch servers on and off: stop, start, reboot, pause."""

from objstore.errors import Unavailable
from objstore.services.compute.agent_api import Pause, Reboot, Stop
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.context import Failed
from objstore.services.compute.states import (
    ACTIVE,
    ERROR,
    PAUSED,
    PAUSING,
    POWER_OFF,
    POWER_PAUSED,
    POWER_RUNNING,
    POWERING_OFF,
    POWERING_ON,
    REBOOTING,
    REBOOTING_HARD,
    STOPPED,
    UNPAUSING,
)
from objstore.services.compute.work import Work

REBOOTS = (REBOOTING, REBOOTING_HARD)
MISSING, NOT_NOW = 404, 409


async def stop(work: Work) -> None:
    """Power off; the plug is pulled when the guest does not do it itself."""
    server = await work.server(POWERING_OFF)
    await work.begin_event(server)
    try:
        await work.context.agents.call(server.host, Stop(server.id, timeout_s=work.context.stop_timeout_s))
    except AgentRefused as refused:
        if refused.status != MISSING:
            raise
    await work.finish(POWERING_OFF, vm_state=STOPPED, power_state=POWER_OFF)


async def start(work: Work) -> None:
    """Power on."""
    server = await work.server(POWERING_ON)
    await work.begin_event(server)
    await work.spawn(server, server.host)
    await work.tell_attached(server, server.host)
    await work.finish(POWERING_ON, vm_state=ACTIVE, power_state=POWER_RUNNING)


async def reboot(work: Work) -> None:
    """Start anew; a guest that does not run is started."""
    server = await work.server(*REBOOTS)
    await work.begin_event(server)
    hard = server.task_state == REBOOTING_HARD
    if not server.host:
        raise Failed("The server never had a host.")
    try:
        await work.context.agents.call(server.host, Reboot(server.id, hard=hard, timeout_s=work.context.stop_timeout_s))
    except AgentRefused as refused:
        if refused.status not in (MISSING, NOT_NOW):
            raise
        if not await work.destroy(server.host):
            raise Unavailable(f"host {server.host} is down") from refused
        await work.spawn(server, server.host)
        await work.tell_attached(server, server.host)
    await work.finish(*REBOOTS, vm_state=ACTIVE, power_state=POWER_RUNNING)


async def pause(work: Work) -> None:
    """Halt its processors."""
    server = await work.server(PAUSING)
    await work.begin_event(server)
    await work.context.agents.call(server.host, Pause(server.id, paused=True))
    await work.finish(PAUSING, vm_state=PAUSED, power_state=POWER_PAUSED)


async def unpause(work: Work) -> None:
    """Let them go on."""
    server = await work.server(UNPAUSING)
    await work.begin_event(server)
    await work.context.agents.call(server.host, Pause(server.id, paused=False))
    await work.finish(UNPAUSING, vm_state=ACTIVE, power_state=POWER_RUNNING)


async def power_failed(work: Work, message: str) -> None:
    """The server is not what it was to be, and perhaps not what it was."""
    await work.fail((POWERING_OFF, POWERING_ON, *REBOOTS, PAUSING, UNPAUSING), message, vm_state=ERROR)
