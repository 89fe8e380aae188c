"""Starts a store: one supervisor, registered with pykka, and everything below it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pykka

from inmem.actors.client.client import close_clients
from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.mailbox import Mailbox
from inmem.actors.dispatch.threads import start_thread
from inmem.actors.dispatch.threads_dispatcher import ThreadsDispatcher
from inmem.actors.environment import SystemClock, SystemEntropy
from inmem.actors.event_log import QuietLogger
from inmem.actors.files.folder_disk import FolderDisk
from inmem.actors.files.system_calls import absolute
from inmem.actors.messages.control import Close, Open
from inmem.actors.messages.edge import accept_values_up_to
from inmem.actors.supervisor import Supervisor
from inmem.engine.errors import ForkedProcessError, StorageError
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.dispatch.dispatcher import Dispatcher
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.options import Options
    from inmem.engine.ports import Clock, Disk, Entropy

log = QuietLogger("inmem.supervisor")

_open: weakref.WeakKeyDictionary[MailboxRef, str] = weakref.WeakKeyDictionary()
"""The stores of this process, including those being opened: their supervisors and their paths."""

before_start: list[Callable[[], None]] = []
"""Called before a store is started on this machine: a simulation refuses here."""


def require_may_start() -> None:
    """Raise if this thread takes part in a simulation, and so must not start a store on this machine.

    Raises:
        UsageError: it takes part in one.
    """
    for refuse in before_start:
        refuse()


def start_store(options: Options) -> MailboxRef:
    """Start a store on this machine's clock, disk and threads; return its supervisor's ref.

    Raises:
        StorageError: the database could not be opened; nothing is left running. The same holds for any other exception,
            such as one that a signal handler has raised.
        UsageError: see `require_may_start`.
    """
    require_may_start()
    if not options.in_memory:
        # The program may change its working directory; the database must stay the same.
        options = replace(options, path=absolute(options.path))
    dispatcher: Dispatcher = CallerDispatcher() if options.dispatcher == "caller" else ThreadsDispatcher()
    interrupts.install()

    def open_disk() -> FolderDisk:
        return FolderDisk(options.path, create=options.create, read_only=options.read_only)

    ref = _make_supervisor(options, dispatcher, SystemClock(), SystemEntropy(), open_disk)
    try:
        # First of all: if another thread forks the process, the child disarms the stores listed here.
        _open[ref] = options.path
        pykka.ActorRegistry.register(ref)
        ref.ask(Open())
    except BaseException:
        give_back(ref)
        raise
    return ref


def start_supervisor(
    options: Options, dispatcher: Dispatcher, clock: Clock, entropy: Entropy, open_disk: Callable[[], Disk]
) -> MailboxRef:
    """Start a store on the given clock, entropy, disk and dispatcher, in a thread that is never interrupted."""
    ref = _make_supervisor(options, dispatcher, clock, entropy, open_disk)
    pykka.ActorRegistry.register(ref)
    try:
        ref.ask(Open())
    except BaseException:
        _dismiss(ref)
        raise
    return ref


def give_back(ref: MailboxRef) -> None:
    """Close a store whose opening was refused or interrupted, so that nobody will see it, and wait for that.

    After an interrupt it may be unknown whether the store is open, is being opened by another thread, or was never
    asked to open. A `Close` works for all three. It is sent from a thread of its own: no signal handler raises anything
    there, and if the caller is interrupted again while it waits here, that thread finishes the close.
    """
    thread = _start_closing(ref)
    if thread is not None:
        thread.join()
    if interrupts.pending:
        interrupts.raise_pending()


@interrupts.uninterrupted
def _start_closing(ref: MailboxRef) -> threading.Thread | None:
    """Have a thread close the store and return it; without one, close the store here."""
    thread = threading.Thread(target=_close, args=(ref,), name="inmem-give-back", daemon=True)
    try:
        started = start_thread(thread)
    except RuntimeError:
        # That no thread is left may be the reason why the store was not opened.
        started = False
    if started:
        return thread
    _close(ref)
    return None


def _close(ref: MailboxRef) -> None:
    supervisor = ref.mailbox.actor
    if not isinstance(supervisor, Supervisor):
        # It has been closed already, for example by code that stops all of pykka's actors.
        return
    if not supervisor.has_let_go:
        try:
            ref.ask(Close())
        except Exception as error:  # noqa: BLE001  (what kept the store from being opened is what has to be told)
            log.warning("not_closed_cleanly", error=shown_failure(error))
            supervisor.let_go()
    _dismiss(ref)


def _dismiss(ref: MailboxRef) -> None:
    """Stop a supervisor that has no actors below it."""
    pykka.ActorRegistry.unregister(ref)
    supervisor = ref.mailbox.actor
    if supervisor is not None:
        supervisor.retire()
    ref.mailbox.dispatcher.shut_down()


def _make_supervisor(
    options: Options, dispatcher: Dispatcher, clock: Clock, entropy: Entropy, open_disk: Callable[[], Disk]
) -> MailboxRef:
    mailbox = Mailbox("supervisor", dispatcher, limits=options.limits)
    mailbox.ref.database = options.path
    accept_values_up_to(options.limits.value_bytes_max)
    mailbox.attach(Supervisor(mailbox, options, clock, entropy, open_disk))
    # Register only the supervisor: stopping it stops the others in the right order, and a broadcast to all actors of
    # the process must not reach them.
    return mailbox.ref


def _close_all() -> None:
    """Close at interpreter exit what the program left open, so that weaker durability modes lose nothing.

    Raises:
        StorageError: acknowledged commits of some stores could not be made durable. The others have been closed.
    """
    failures: list[tuple[str, Exception]] = []
    for ref, path in tuple(_open.items()):
        try:
            if ref.is_alive():
                ref.ask(Close())
        except pykka.ActorDeadError:
            # It was closed in the meantime.
            continue
        except Exception as error:  # noqa: BLE001  (whatever it is, the others are to be closed)
            failures.append((path, error))
        except BaseException:
            # Ctrl-C. The interpreter is about to stop the actors' threads wherever they are: a finalizer that runs
            # after that must not wait for them.
            close_clients()
            raise
    if failures:
        raise StorageError("; ".join(f"{path}: {error}" for path, error in failures)) from failures[0][1]


def _after_fork_in_child() -> None:
    """Make the child's copies of the parent's actors handle nothing: their files are the parent's.

    Waiting is refused as well: an answer that had not arrived at the fork will never come, and under `caller` the
    waiting thread would run what the parent had queued.
    """
    for ref in tuple(_open):
        vars(ref.mailbox.dispatcher).update(
            post=_refuse, post_all=_refuse, pass_on=_refuse, ask=_refuse, wait=_refuse, idle=_refuse
        )
    _open.clear()


def _refuse(*_: object) -> NoReturn:
    raise ForkedProcessError


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
