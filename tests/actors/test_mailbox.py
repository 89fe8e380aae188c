"""A mailbox is an address: what arrives while nobody is behind it waits, or is refused at the end."""

import pykka
import pytest

import inmem
from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.dispatch.mailbox import AsMessage, Mailbox
from inmem.actors.messages.control import Resume
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, Performer, Stage


@pytest.fixture(params=DISPATCHERS)
def stage(request):
    stage = Stage(DISPATCHERS[request.param]())
    yield stage
    stage.close()


def heard(ref):
    return ref.ask(lambda actor: list(actor.heard), timeout=FAILSAFE_S)


def test_what_arrives_while_nobody_is_there_waits_in_order(stage):
    ref = stage.start()
    ref.ask(lambda actor: actor.mailbox.suspend())
    ref.tell(1)
    asked = ref.ask(2, block=False)
    ref.tell(3)
    successor = Performer(ref.mailbox)
    ref.tell(Resume(successor))
    assert asked.get(timeout=FAILSAFE_S) == 2
    assert heard(ref) == [1, 2, 3]
    assert ref.ask(lambda actor: actor is successor)


def test_the_ref_stays_the_same_ref(stage):
    ref = stage.start()
    urn = ref.actor_urn
    ref.ask(lambda actor: actor.mailbox.suspend())
    ref.tell(Resume(Performer(ref.mailbox)))
    assert ref.ask("new") == "new"
    assert ref.actor_urn == urn
    assert ref.is_alive()
    assert ref.ask(lambda actor: actor.actor_ref is ref and actor.actor_urn == urn)
    assert ref.proxy().double(2).get(timeout=FAILSAFE_S) == 4


def test_a_successor_that_suspends_itself_again_leaves_the_rest_waiting(stage):
    ref = stage.start()
    ref.ask(lambda actor: actor.mailbox.suspend())
    ref.tell(1)
    ref.tell(lambda actor: actor.mailbox.suspend())
    ref.tell(2)
    first, second = Performer(ref.mailbox), Performer(ref.mailbox)
    ref.tell(Resume(first))
    ref.tell(3)
    ref.tell(Resume(second))
    assert heard(ref) == [2, 3]
    assert first.heard == [1]


def test_nobody_takes_the_place_of_one_who_owes():
    mailbox = Mailbox("performer", CallerDispatcher())
    first, second = Performer(mailbox), Performer(mailbox)
    mailbox.attach(first)
    owed = first.owe("asked")
    with pytest.raises(inmem.InvariantError, match="before this one's debts were taken over"):
        mailbox.deliver(Resume(second), None)
    assert mailbox.actor is first
    owed.answer("answered")
    mailbox.deliver(Resume(second), None)
    assert mailbox.actor is second


class Supervised(StoreActor):
    """One that is suspended when it fails; its supervisor does nothing about it."""

    def __init__(self, mailbox):
        super().__init__(mailbox, Mailbox("supervisor", CallerDispatcher()).ref)
        self.heard = []

    def on_receive(self, message):
        self.heard.append(message)


def test_what_has_been_failed_over_is_not_for_the_successor_as_well():
    """Whoever makes up for what was cut short may be cut short behind it, and does it again."""
    mailbox = Mailbox("performer", CallerDispatcher())
    mailbox.deliver(Resume(Supervised(mailbox)), None)
    reply = ReplyFuture()
    for _ in range(2):
        mailbox.make_up("asked", reply, RuntimeError("struck"))
    with pytest.raises(inmem.TransactionAbortedError):
        reply.get(timeout=0)
    # The same to an actor that has not come to it.
    for _ in range(2):
        mailbox.make_up("waits", None, RuntimeError("struck"))
    successor = Supervised(mailbox)
    mailbox.deliver(Resume(successor), None)
    assert successor.heard == ["waits"]


def test_who_is_resumed_has_nothing_of_its_predecessor_at_hand():
    mailbox = Mailbox("performer", CallerDispatcher())
    # Cut short over it, the predecessor has failed; nobody has come to note that it is at nobody's hand any more.
    mailbox.at_hand = ("earlier", None)
    mailbox.deliver(Resume(Supervised(mailbox)), None)
    reply = ReplyFuture()
    mailbox.make_up("later", reply, RuntimeError("struck"))
    with pytest.raises(inmem.TransactionAbortedError):
        reply.get(timeout=0)


def test_retiring_refuses_those_who_wait(stage):
    ref = stage.start()
    ref.ask(lambda actor: actor.mailbox.suspend())
    asked = ref.ask("in vain", block=False)
    ref.tell("nobody asks")
    # Ends the mailbox's thread, if it has one, once both messages have arrived.
    stage.dispatcher.close(ref.mailbox)
    ref.mailbox.retire()
    with pytest.raises(pykka.ActorDeadError, match="performer stopped before handling the message"):
        asked.get(timeout=FAILSAFE_S)
    assert not ref.is_alive()


def test_what_is_sent_to_a_retired_mailbox_is_answered_as_dead(stage):
    ref = stage.start()
    ref.stop(timeout=FAILSAFE_S)
    future = stage.dispatcher.future()
    ref.send("anything", future)
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=FAILSAFE_S)
    ref.send("nobody asks", None)


def test_an_answer_can_arrive_as_a_message(stage):
    asker, answerer = stage.start("asker"), stage.start("answerer")
    answerer.send("question", AsMessage(asker, lambda value, error: ("answer", value, error)))

    def fail(_):
        raise LookupError("no answer")

    answerer.send(fail, AsMessage(asker, lambda value, error: ("answer", value, str(error))))
    answerer.ask("both are done by now")
    assert heard(asker) == [("answer", "question", None), ("answer", None, "no answer")]


def test_it_counts_what_waits():
    interrupts.install()
    dispatcher = CallerDispatcher()
    mailbox = Mailbox("nobody", dispatcher)
    assert mailbox.empty()
    assert dispatcher.depth(mailbox) == 0
    mailbox.ref.tell(1)
    mailbox.ref.tell(2)
    assert not mailbox.empty()
    assert dispatcher.depth(mailbox) == 2
    mailbox.ref.tell(Resume(Performer(mailbox)))
    assert mailbox.empty()
    assert dispatcher.depth(mailbox) == 0


def test_it_is_not_emptied_by_hand(stage):
    with pytest.raises(TypeError, match="dispatcher"):
        stage.start().actor_inbox.get()


def test_it_prints_its_name(stage):
    assert str(stage.start("shard-3")).startswith("shard-3 (urn:uuid:")
