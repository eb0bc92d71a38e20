"""Virtual time: one scheduler for the whole simulated world, one asyncio event loop for each simulated host.

Nothing sleeps.  When no callback is ready the scheduler jumps to the next timer, so ten minutes of a cluster's life pass in
less than a second and the same seed always gives the same order of events.  Every host has a loop of its own because a
host can be *frozen* (its callbacks pile up until it thaws) or *dead* (they vanish, and with them every task, without one
`finally` block running while the rest of the world looks on).

`run` serves single-host unit tests: `run(main())` is `asyncio.run(main())` on virtual time.
"""

import asyncio
import contextvars
import heapq
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

RUNAWAY_STEPS = 2_000_000  # callbacks at one virtual instant: far above what any workload needs, well below patience
_COMPACT_ABOVE = 2_000  # cancelled timers in the heap before it is swept

RUNNING, FROZEN, DEAD = 0, 1, 2


class SimulationError(Exception):
    """The simulation itself cannot go on: a deadlock or a runaway loop."""


class Deadlock(SimulationError):
    """Nothing is ready, no timer is set, and what is waited for has not happened."""


class Runaway(SimulationError):
    """Virtual time stands still while callbacks go round and round."""


class Handle:
    """What `call_soon` and `call_at` return; cheaper than asyncio's own, with the same face."""

    __slots__ = ("__weakref__", "args", "callback", "context", "loop", "when_s")

    def __init__(self, loop: "HostLoop", callback: Callable[..., Any] | None, args: tuple[Any, ...], context: Any, when_s: float) -> None:
        self.loop = loop
        self.callback = callback
        self.args = args
        self.context = contextvars.copy_context() if context is None else context
        self.when_s = when_s

    def cancel(self) -> None:
        """Forget the callback."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            if self.when_s >= 0:
                self.loop.scheduler.cancelled_timers += 1

    def cancelled(self) -> bool:
        """Whether it was cancelled (or has run)."""
        return self.callback is None

    def when(self) -> float:
        """Due time of a timer, in seconds of the loop's clock."""
        return self.when_s


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task that hashes by its number, so that sets of tasks iterate in the same order in every run."""

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class SimFuture(asyncio.Future):  # type: ignore[type-arg]
    """A future that hashes by its number, for the same reason."""

    def __init__(self, *, number: int, loop: "HostLoop") -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class Scheduler:
    """The ready queue and the timers of all hosts, on one virtual clock that starts at 0."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.steps = 0
        self.cancelled_timers = 0
        self.digest = 0  # of everything that was noted: two runs of one seed must end with the same
        self.failures: list[tuple[str, dict[str, Any]]] = []  # host, asyncio exception context
        self.number = 0
        self._sequence = 0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []

    def note(self, value: int) -> None:
        """Mix an event into the digest of the run."""
        self.digest = (self.digest * 1_000_003 ^ value) & 0xFFFFFFFFFFFFFFFF

    def call_soon(self, handle: Handle) -> None:
        """Queue a handle behind all that are ready."""
        self._ready.append(handle)

    def call_at(self, when_s: float, handle: Handle) -> None:
        """Queue a handle for a time; handles for one instant run in the order in which they were queued."""
        self._sequence += 1
        heapq.heappush(self._timers, (when_s, self._sequence, handle))
        if self.cancelled_timers > _COMPACT_ABOVE and self.cancelled_timers * 2 > len(self._timers):
            self._timers = [timer for timer in self._timers if timer[2].callback is not None]
            heapq.heapify(self._timers)
            self.cancelled_timers = 0

    def clear(self) -> None:
        """Forget everything that was to come."""
        self._ready.clear()
        self._timers.clear()
        _generators.clear()

    def run_until(self, future: "asyncio.Future[T]", *, limit_s: float = float("inf")) -> T:
        """Run until `future` is done and return its result.  Raises Deadlock, Runaway, or TimeoutError at `limit_s`."""
        previous_hooks = sys.get_asyncgen_hooks()
        previous_loop = events._get_running_loop()
        sys.set_asyncgen_hooks(firstiter=_first_iteration, finalizer=_finalize_generator)
        try:
            self._run(future, limit_s)
        finally:
            events._set_running_loop(previous_loop)
            sys.set_asyncgen_hooks(*previous_hooks)
        return future.result()

    def _run(self, future: "asyncio.Future[Any]", limit_s: float) -> None:
        ready = self._ready
        set_running_loop = events._set_running_loop
        current: HostLoop | None = None
        instant_steps = 0
        while not future.done():
            while ready:
                handle = ready.popleft()
                callback = handle.callback
                if callback is None:
                    continue
                loop = handle.loop
                if loop.state:
                    loop.put_aside(handle)
                    continue
                if loop is not current:
                    set_running_loop(None)
                    set_running_loop(loop)
                    current = loop
                instant_steps += 1
                handle.callback = None
                try:
                    handle.context.run(callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as failure:  # noqa: BLE001 asyncio's rule: a callback's exception goes to the handler
                    loop.call_exception_handler({"message": f"exception in callback {callback!r}", "exception": failure})
                if instant_steps > RUNAWAY_STEPS:
                    raise Runaway(f"{instant_steps} callbacks at {self.now_s:.6f} s, the last {callback!r} of {loop.name}")
            self.steps += instant_steps
            instant_steps = 0
            if not future.done():
                self._advance(limit_s)

    def _advance(self, limit_s: float) -> None:
        """Jump to the next timer that is still wanted and make all timers of that instant ready."""
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
            self.cancelled_timers -= 1
        if not timers:
            raise Deadlock(f"nothing is ready and no timer is set at {self.now_s:.6f} s")
        when_s = timers[0][0]
        if when_s > limit_s:
            self.now_s = limit_s
            raise TimeoutError(f"still running after {limit_s} s of virtual time")
        self.now_s = max(self.now_s, when_s)
        while timers and timers[0][0] <= when_s:
            handle = heapq.heappop(timers)[2]
            handle.when_s = -1.0
            if handle.callback is None:
                self.cancelled_timers -= 1
            else:
                self._ready.append(handle)


class HostLoop(asyncio.AbstractEventLoop):
    """The event loop of one host."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.state = RUNNING
        self._frozen: list[Handle] = []
        self._graveyard: list[Any] = []
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    # -- life of the host -----------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop running; whatever becomes due waits."""
        assert self.state == RUNNING
        self.state = FROZEN

    def thaw(self) -> None:
        """Go on with what became due in the meantime, in order."""
        assert self.state == FROZEN
        self.state = RUNNING
        frozen, self._frozen = self._frozen, []
        for handle in frozen:
            self.scheduler.call_soon(handle)

    def kill(self) -> None:
        """Never run anything again.  Tasks stay referenced until `bury`, so that no `finally` runs in mid-simulation."""
        self.state = DEAD
        self._graveyard = [task for task in asyncio.all_tasks(self) if task is not None]
        for task in self._graveyard:
            task._log_destroy_pending = False
        self._graveyard.extend(self._frozen)
        self._frozen = []

    def bury(self) -> None:
        """Let go of the dead; call once the simulation is over."""
        self._graveyard = []

    def put_aside(self, handle: Handle) -> None:
        """Take a handle that became due while the host does not run."""
        if self.state == FROZEN:
            self._frozen.append(handle)
        else:
            self._graveyard.append(handle)

    # -- asyncio's interface --------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.scheduler.now_s

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:  # type: ignore[override]
        handle = Handle(self, callback, args, context, -1.0)
        self.scheduler.call_soon(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:  # type: ignore[override]
        return self.call_at(self.scheduler.now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:  # type: ignore[override]
        when = max(when, 0.0)
        handle = Handle(self, callback, args, context, when)
        self.scheduler.call_at(when, handle)
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        self.scheduler.number += 1
        return SimFuture(number=self.scheduler.number, loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> "asyncio.Task[Any]":
        self.scheduler.number += 1
        return SimTask(coro, loop=self, name=name, context=context, number=self.scheduler.number)

    def run_until_complete(self, future: Any) -> Any:
        if asyncio.iscoroutine(future):
            future = self.create_task(future)
        return self.scheduler.run_until(future)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise SimulationError("run_in_executor in the simulator: blocking work goes through Threads.run")

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        assert not enabled

    def is_running(self) -> bool:
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        return False

    def close(self) -> None:
        self.kill()

    async def shutdown_asyncgens(self) -> None:
        return

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        return

    def set_exception_handler(self, handler: Any) -> None:
        self._exception_handler = handler

    def get_exception_handler(self) -> Any:
        return self._exception_handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.scheduler.failures.append((self.name, context))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.state == DEAD:
            return
        if self._exception_handler is not None:
            self._exception_handler(self, context)
        else:
            self.default_exception_handler(context)


_generators: dict[int, "HostLoop"] = {}  # by id; weak references are gone by the time of the finalizer


def _first_iteration(generator: Any) -> None:
    loop = events._get_running_loop()
    assert isinstance(loop, HostLoop)
    _generators[id(generator)] = loop


def _finalize_generator(generator: Any) -> None:
    """asyncio's rule: a generator that is dropped half-way is closed by a task; one of a dead host is not closed at all."""
    loop = _generators.pop(id(generator), None)
    if loop is not None and loop.state == RUNNING:
        loop.call_soon(loop.create_task, generator.aclose())


def run(main: Coroutine[Any, Any, T], *, limit_s: float = 3_600.0) -> T:
    """`asyncio.run` on virtual time for one host; an exception in any callback or forgotten task is raised at the end."""
    scheduler = Scheduler()
    loop = HostLoop(scheduler, "host")  # type: ignore[abstract]  # only the stubs call the unused methods abstract
    result: T = scheduler.run_until(loop.create_task(main), limit_s=limit_s)
    if scheduler.failures:
        context = scheduler.failures[0][1]
        raise SimulationError(context["message"]) from context.get("exception")
    return result
