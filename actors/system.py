"""Starting a store: one supervisor, registered with pykka, and everything below it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pykka

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
"""The stores of this process, those that are being opened too, by their supervisors, and where they are."""

before_start: list[Callable[[], None]] = []
"""Called before a store is started on this machine: where a simulation refuses."""


def require_may_start() -> None:
    """Refuse in a thread that takes part in a simulation to start a store on this machine.

    Raises:
        UsageError: it does.
    """
    for refuse in before_start:
        refuse()


def start_store(options: Options) -> MailboxRef:
    """Start a store on this machine's clock, disk and threads; return its supervisor's ref.

    Raises:
        StorageError: the database could not be opened; nothing is left running. So it is with any other exception,
            such as one that a signal handler has raised meanwhile.
        UsageError: as `require_may_start`.
    """
    require_may_start()
    if not options.in_memory:
        # The program may change its working directory; the database stays where it is.
        options = replace(options, path=absolute(options.path))
    dispatcher: Dispatcher = CallerDispatcher() if options.dispatcher == "caller" else ThreadsDispatcher()
    interrupts.install()

    def open_disk() -> FolderDisk:
        return FolderDisk(options.path, create=options.create, read_only=options.read_only)

    ref = _make_supervisor(options, dispatcher, SystemClock(), SystemEntropy(), open_disk)
    try:
        # First of all: should another thread fork the process meanwhile, its child disarms what is in here.
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
    """Start a store on whatever clock, entropy, disk and dispatcher are given, in a thread that nobody interrupts."""
    ref = _make_supervisor(options, dispatcher, clock, entropy, open_disk)
    pykka.ActorRegistry.register(ref)
    try:
        ref.ask(Open())
    except BaseException:
        _dismiss(ref)
        raise
    return ref


def give_back(ref: MailboxRef) -> None:
    """Close a store that nobody will get to see, as its opening was refused or interrupted, and wait for that.

    Who was interrupted may not know whether the store has been opened, is being opened by another thread, or was never
    asked to. Behind a `Close` all three are the same. It is sent from a thread of its own: there no signal handler
    raises anything, and whoever is interrupted while waiting here, once more, leaves the end to that thread.
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
        # That there is no thread left may be why the store was not opened.
        started = False
    if started:
        return thread
    _close(ref)
    return None


def _close(ref: MailboxRef) -> None:
    supervisor = ref.mailbox.actor
    if not isinstance(supervisor, Supervisor):
        # Somebody has closed it already, as whoever stops all of pykka's actors does.
        return
    if not supervisor.has_let_go:
        try:
            ref.ask(Close())
        except Exception as error:  # noqa: BLE001  (what kept the store from being opened is what has to be told)
            log.warning("not_closed_cleanly", error=shown_failure(error))
            supervisor.let_go()
    _dismiss(ref)


def _dismiss(ref: MailboxRef) -> None:
    """Stop a supervisor that has nobody below."""
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
    # Only the supervisor is to be registered: stopping it stops the others in the right order, and a broadcast to all
    # actors of the process is none of their business.
    return mailbox.ref


def _close_all() -> None:
    """Close at interpreter exit what the program left open, so that weaker durability modes lose nothing.

    Raises:
        StorageError: of some of them, what was acknowledged could not be made durable. The others have been closed.
    """
    failures: list[tuple[str, Exception]] = []
    for ref, path in tuple(_open.items()):
        try:
            if ref.is_alive():
                ref.ask(Close())
        except pykka.ActorDeadError:
            # Somebody else was quicker.
            continue
        except Exception as error:  # noqa: BLE001  (whatever it is, the others are to be closed)
            failures.append((path, error))
    if failures:
        raise StorageError("; ".join(f"{path}: {error}" for path, error in failures)) from failures[0][1]


def _after_fork_in_child() -> None:
    """See to it that the child's copies of the parent's actors handle nothing: their files are the parent's.

    Waiting is refused as well: an answer that was not there at the fork will never come, and under `caller` whoever
    waits would run what the parent had queued.
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
