"""Starting a store: one supervisor, registered with pykka, and everything below it."""

from __future__ import annotations

import atexit
import os
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pykka

from inmem.actors import interrupts
from inmem.actors.caller_dispatcher import CallerDispatcher
from inmem.actors.environment import SystemClock, SystemEntropy
from inmem.actors.folder_disk import FolderDisk
from inmem.actors.mailbox import Mailbox
from inmem.actors.messages.control import Close, Open
from inmem.actors.messages.edge import accept_values_up_to
from inmem.actors.supervisor import Supervisor
from inmem.actors.system_calls import absolute
from inmem.actors.threads_dispatcher import ThreadsDispatcher
from inmem.engine.errors import ForkedProcessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.dispatcher import Dispatcher
    from inmem.actors.mailbox import MailboxRef
    from inmem.actors.options import Options
    from inmem.engine.ports import Clock, Disk, Entropy

_open: weakref.WeakSet[MailboxRef] = weakref.WeakSet()


def start_store(options: Options) -> MailboxRef:
    """Start a store on this machine's clock, disk and threads; return its supervisor's ref.

    Raises:
        StorageError: the database could not be opened; nothing is left running.
    """
    if not options.in_memory:
        # The program may change its working directory; the database stays where it is.
        options = replace(options, path=absolute(options.path))
    dispatcher: Dispatcher = CallerDispatcher() if options.dispatcher == "caller" else ThreadsDispatcher()
    interrupts.install()

    def open_disk() -> FolderDisk:
        return FolderDisk(options.path, create=options.create, read_only=options.read_only)

    ref = start_supervisor(options, dispatcher, SystemClock(), SystemEntropy(), open_disk)
    _open.add(ref)
    return ref


def start_supervisor(
    options: Options, dispatcher: Dispatcher, clock: Clock, entropy: Entropy, open_disk: Callable[[], Disk]
) -> MailboxRef:
    """Start a store on whatever clock, entropy, disk and dispatcher are given."""
    mailbox = Mailbox("supervisor", dispatcher, limits=options.limits)
    accept_values_up_to(options.limits.value_bytes_max)
    supervisor = Supervisor(mailbox, options, clock, entropy, open_disk)
    mailbox.attach(supervisor)
    # Only the supervisor is registered: stopping it stops the others in the right order, and a broadcast to all
    # actors of the process is none of their business.
    pykka.ActorRegistry.register(mailbox.ref)
    try:
        mailbox.ref.ask(Open())
    except BaseException:
        pykka.ActorRegistry.unregister(mailbox.ref)
        supervisor.retire()
        dispatcher.shut_down()
        raise
    return mailbox.ref


def _close_all() -> None:
    """Close at interpreter exit what the program left open, so that weaker durability modes lose nothing."""
    for ref in tuple(_open):
        if ref.is_alive():
            ref.ask(Close())


def _after_fork_in_child() -> None:
    """See to it that the child's copies of the parent's actors handle nothing: their files are the parent's.

    Waiting is refused as well: an answer that was not there at the fork will never come, and under `caller` whoever
    waits would run what the parent had queued.
    """
    for ref in tuple(_open):
        vars(ref.mailbox.dispatcher).update(post=_refuse, post_and_run=_refuse, wait=_refuse, idle=_refuse)
    _open.clear()


def _refuse(*_: object) -> NoReturn:
    raise ForkedProcessError


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
