"""A stage for single actors: a dispatcher without a store, and an actor class that executes its messages."""

import threading
from collections.abc import Callable
from typing import Any

import pykka

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
from inmem.actors.dispatch.threads_dispatcher import ThreadsDispatcher

FAILSAFE_S = 30.0
"""Seconds that nothing in these tests takes unless it hangs."""

DISPATCHERS = {"caller": CallerDispatcher, "threads": ThreadsDispatcher}


class Performer(StoreActor):
    """An actor that calls callable messages with itself as the argument, and echoes the others."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox, None)
        self.field = "initial"
        self.heard: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.heard.append(message)
        return message

    def double(self, number: int, *, plus: int = 0) -> int:
        return 2 * number + plus

    def on_pykka_message(self, message: Any) -> Any:
        """Stop when asked to, as the supervisor does."""
        if type(message).__name__ == "_ActorStop":
            pykka.ActorRegistry.unregister(self.ref)
            self.retire()
            return None
        return super().on_pykka_message(message)

    def fail(self, message: Any, reply_to: Any, error: BaseException) -> None:
        """Survive, and answer with the error, as pykka's actors do for `ask`."""
        if reply_to is not None:
            reply_to.set_exception((type(error), error, error.__traceback__))


class Stage:
    """Actors on one dispatcher, all stopped by `close`."""

    def __init__(self, dispatcher: CallerDispatcher | ThreadsDispatcher) -> None:
        self.dispatcher = dispatcher
        self.mailboxes: list[Mailbox] = []

    def start(self, name: str = "performer", *, own_thread: bool = False, lends_itself: bool = False) -> MailboxRef:
        mailbox = Mailbox(name, self.dispatcher, own_thread=own_thread, lends_itself=lends_itself)
        mailbox.attach(Performer(mailbox))
        self.mailboxes.append(mailbox)
        return mailbox.ref

    def close(self) -> None:
        for mailbox in self.mailboxes:
            if mailbox.ref.is_alive():
                mailbox.ref.stop(timeout=FAILSAFE_S)
        self.dispatcher.shut_down()


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Run each function in its own thread, all starting at once; return the results, or raise the first exception."""
    barrier = threading.Barrier(len(works))
    outcomes: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(index: int, work: Callable[[], Any]) -> None:
        barrier.wait(FAILSAFE_S)
        try:
            outcomes[index] = work()
        except BaseException as error:  # noqa: BLE001  (raised again below, in the test's thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(FAILSAFE_S)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return outcomes
