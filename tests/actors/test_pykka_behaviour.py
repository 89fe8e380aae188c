"""pykka's documented behaviour, from refs of both dispatchers, and from pykka's own for comparison."""

import asyncio
import threading

import pykka
import pytest

from inmem.engine.errors import UsageError
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, Performer, Stage, in_threads


class PykkaPerformer(pykka.ThreadingActor):
    """What `Performer` does, on pykka's own actor: it shows that the tests ask for nothing that pykka does not do."""

    use_daemon_thread = True

    def __init__(self):
        super().__init__()
        self.field = "initial"
        self.heard = []

    def on_receive(self, message):
        if callable(message):
            return message(self)
        self.heard.append(message)
        return message

    double = Performer.double


@pytest.fixture(params=[*DISPATCHERS, "pykka"])
def start(request):
    if request.param == "pykka":
        refs = []
        yield lambda: refs.append(PykkaPerformer.start()) or refs[-1]
        for ref in refs:
            ref.stop(timeout=FAILSAFE_S)
        return
    stage = Stage(DISPATCHERS[request.param]())

    def start_registered():
        ref = stage.start()
        pykka.ActorRegistry.register(ref)
        return ref

    yield start_registered
    stage.close()


@pytest.fixture
def ref(start):
    return start()


class Held:
    """Keeps an actor busy: after `with` begins, until it ends."""

    def __init__(self, ref):
        self._begun = threading.Event()
        self._go = threading.Event()
        # Under the caller dispatcher the thread that tells is the one that is kept busy.
        self._thread = threading.Thread(target=ref.tell, args=(self._hold,), daemon=True)

    def _hold(self, _actor):
        self._begun.set()
        assert self._go.wait(FAILSAFE_S)

    def __enter__(self):
        self._thread.start()
        assert self._begun.wait(FAILSAFE_S)

    def __exit__(self, *_):
        self._go.set()
        self._thread.join(FAILSAFE_S)


def test_ask_returns_the_reply(ref):
    assert ref.ask("message") == "message"


def test_ask_passes_the_message_object_itself(ref):
    message = ["message"]
    assert ref.ask(message) is message


def test_ask_without_blocking_returns_a_future_of_the_reply(ref):
    future = ref.ask("message", block=False)
    assert isinstance(future, pykka.Future)
    assert future.get(timeout=FAILSAFE_S) == "message"
    assert future.get() == "message"


def test_tell_returns_nothing_and_is_done_before_a_later_ask(ref):
    assert ref.tell("told") is None
    assert ref.ask(lambda actor: list(actor.heard)) == ["told"]


def test_a_reply_may_be_none_or_false(ref):
    assert ref.ask(lambda _: None) is None
    assert ref.ask(lambda _: False) is False


@pytest.mark.parametrize("error", [UsageError("one of ours"), ZeroDivisionError("somebody else's")])
def test_ask_raises_the_handlers_exception_with_its_traceback(ref, error):
    def fail(_):
        raise error

    with pytest.raises(type(error)) as caught:
        ref.ask(fail)
    assert caught.value is error
    assert caught.traceback[-1].name == "fail"
    assert ref.ask("still there") == "still there"


def test_a_future_raises_its_exception_each_time(ref):
    def fail(_):
        raise UsageError("no")

    future = ref.ask(fail, block=False)
    for _ in range(3):
        with pytest.raises(UsageError, match="no") as caught:
            future.get(timeout=FAILSAFE_S)
        assert [entry.name for entry in caught.traceback].count("fail") == 1


def test_ask_times_out_and_what_was_asked_for_is_still_done(ref):
    with Held(ref), pytest.raises(pykka.Timeout, match="0 seconds"):
        ref.ask("late", timeout=0)
    assert ref.ask(lambda actor: list(actor.heard)) == ["late"]


def test_a_future_that_timed_out_can_be_asked_again(ref):
    with Held(ref):
        future = ref.ask("late", block=False)
        for timeout in (0, 0.001):
            with pytest.raises(pykka.Timeout):
                future.get(timeout=timeout)
    assert future.get(timeout=FAILSAFE_S) == "late"


def test_get_all_waits_for_all_in_order(start):
    refs = [start() for _ in range(3)]
    futures = [ref.ask(index, block=False) for index, ref in enumerate(refs)]
    assert pykka.get_all(futures, timeout=FAILSAFE_S) == [0, 1, 2]


def test_get_all_times_out(start):
    free, busy = start(), start()
    with Held(busy):
        futures = [busy.ask("late", block=False), free.ask("now", block=False)]
        with pytest.raises(pykka.Timeout):
            pykka.get_all(futures, timeout=0)


def test_map_passes_the_result_on(ref):
    assert ref.ask(20, block=False).map(lambda x: x * 2).map(str).get(timeout=FAILSAFE_S) == "40"


def test_map_does_not_look_into_iterables(ref):
    assert ref.ask({"a": 1}, block=False).map(lambda found: found["a"]).get(timeout=FAILSAFE_S) == 1


def test_filter_keeps_what_passes(ref):
    future = ref.ask(range(6), block=False).filter(lambda x: x % 2)
    assert future.get(timeout=FAILSAFE_S) == [1, 3, 5]


def test_reduce_folds_with_and_without_a_start(ref):
    future = ref.ask([1, 2, 3], block=False)
    assert future.reduce(lambda x, y: x + y).get(timeout=FAILSAFE_S) == 6
    assert future.reduce(lambda x, y: x + y, 10).get(timeout=FAILSAFE_S) == 16
    assert ref.ask([], block=False).reduce(lambda x, y: x + y, 5).get(timeout=FAILSAFE_S) == 5
    with pytest.raises(TypeError):
        ref.ask(1, block=False).reduce(lambda x, y: x + y).get(timeout=FAILSAFE_S)


def test_join_collects_several(start):
    futures = [start().ask(index, block=False) for index in range(3)]
    joined = futures[0].join(*futures[1:])
    assert joined.get(timeout=FAILSAFE_S) == [0, 1, 2]
    assert joined.map(sum).get(timeout=FAILSAFE_S) == 3


def test_join_passes_the_timeout_on(start):
    free, busy = start(), start()
    with Held(busy):
        joined = free.ask("now", block=False).join(busy.ask("late", block=False))
        with pytest.raises(pykka.Timeout):
            joined.get(timeout=0)
    assert joined.get(timeout=FAILSAFE_S) == ["now", "late"]


def test_a_derived_future_raises_what_its_source_raises(ref):
    def fail(_):
        raise UsageError("no")

    source = ref.ask(fail, block=False)
    for derived in (source.map(str), source.filter(bool), source.join(), source.reduce(max)):
        with pytest.raises(UsageError):
            derived.get(timeout=FAILSAFE_S)


def test_a_derived_future_computes_once(ref):
    computed = []
    derived = ref.ask(1, block=False).map(lambda value: computed.append(value) or value)
    assert derived.get(timeout=FAILSAFE_S) == derived.get() == 1
    assert computed == [1]


def test_a_get_hook_gets_the_timeout(ref):
    future = type(ref.ask("any", block=False))()
    future.set_get_hook(lambda timeout: timeout)
    assert future.get(timeout=1.5) == 1.5


def test_a_future_can_be_awaited(ref):
    async def main():
        return await ref.ask("message", block=False)

    assert asyncio.run(main()) == "message"


def test_many_threads_may_wait_for_one_future(ref):
    with Held(ref):
        future = ref.ask("shared", block=False)
        waiting = [threading.Thread(target=future.get, daemon=True) for _ in range(8)]
        for thread in waiting:
            thread.start()
    for thread in waiting:
        thread.join(FAILSAFE_S)
    assert not any(thread.is_alive() for thread in waiting)


def test_messages_of_one_sender_arrive_in_order(ref):
    def send(sender):
        for number in range(200):
            if number % 3:
                ref.tell((sender, number))
            else:
                ref.ask((sender, number), block=False)

    in_threads(*(lambda sender=sender: send(sender) for sender in range(4)))
    heard = ref.ask(lambda actor: list(actor.heard))
    assert len(heard) == 800
    for sender in range(4):
        assert [number for who, number in heard if who == sender] == list(range(200))


def test_a_handler_runs_alone(ref):
    inside = []

    def enter(_):
        inside.append(None)
        overlap = len(inside)
        inside.pop()
        return overlap

    results = in_threads(*[lambda: [ref.ask(enter) for _ in range(200)]] * 4)
    assert {overlap for overlaps in results for overlap in overlaps} == {1}


def test_a_handler_may_tell_its_own_actor(ref):
    ref.ask(lambda actor: actor.actor_ref.tell("from inside"))
    assert ref.ask(lambda actor: list(actor.heard)) == ["from inside"]


def test_a_handler_may_pass_a_future_on(start):
    first, second = start(), start()
    inner = first.ask(lambda _: second.ask("answer", block=False))
    assert inner.get(timeout=FAILSAFE_S) == "answer"


def test_stop_lets_earlier_messages_through_and_refuses_later_ones(ref):
    before = ref.ask("before", block=False)
    with Held(ref):
        stopping = ref.stop(block=False)
        after = ref.ask("after", block=False)
    assert before.get(timeout=FAILSAFE_S) == "before"
    assert stopping.get(timeout=FAILSAFE_S) is True
    with pytest.raises(pykka.ActorDeadError):
        after.get(timeout=FAILSAFE_S)


def test_a_stopped_actor_is_dead(ref):
    assert ref.is_alive()
    assert ref.stop(timeout=FAILSAFE_S) is True
    assert ref.actor_stopped.wait(FAILSAFE_S)
    assert not ref.is_alive()
    assert ref.stop(timeout=FAILSAFE_S) is False
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.tell("anything")
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.ask("anything")
    future = ref.ask("anything", block=False)
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=FAILSAFE_S)


def test_a_future_outlives_its_actor(ref):
    future = ref.ask("message", block=False)
    ref.stop(timeout=FAILSAFE_S)
    assert future.get(timeout=FAILSAFE_S) == "message"


def test_a_proxy_calls_reads_and_sets(ref):
    proxy = ref.proxy()
    assert proxy.double(4).get(timeout=FAILSAFE_S) == 8
    assert proxy.double(4, plus=1).get(timeout=FAILSAFE_S) == 9
    assert proxy.field.get(timeout=FAILSAFE_S) == "initial"
    proxy.field = "set"
    assert proxy.field.get(timeout=FAILSAFE_S) == "set"
    with pytest.raises(AttributeError):
        proxy.missing  # noqa: B018


def test_proxy_calls_and_messages_of_one_sender_keep_their_order(ref):
    proxy = ref.proxy()
    ref.tell(lambda actor: setattr(actor, "field", "told"))
    read = proxy.field
    proxy.field = "set"
    ref.tell(lambda actor: setattr(actor, "field", "told again"))
    assert read.get(timeout=FAILSAFE_S) == "told"
    assert proxy.field.get(timeout=FAILSAFE_S) == "told again"


def test_a_proxy_of_a_dead_actor_is_refused(ref):
    ref.stop(timeout=FAILSAFE_S)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


def test_the_registry_finds_the_actor(ref):
    registry = pykka.ActorRegistry
    assert registry.get_by_urn(ref.actor_urn) is ref
    assert ref in registry.get_all()
    assert ref in registry.get_by_class(ref.actor_class)
    assert ref in registry.get_by_class_name(ref.actor_class.__name__)
    ref.stop(timeout=FAILSAFE_S)
    assert registry.get_by_urn(ref.actor_urn) is None


def test_the_registry_broadcasts(start):
    refs = [start() for _ in range(3)]
    pykka.ActorRegistry.broadcast("to all", refs[0].actor_class)
    assert [ref.ask(lambda actor: list(actor.heard)) for ref in refs] == [["to all"]] * 3


def test_stop_all_stops_the_actor(start):
    refs = [start() for _ in range(3)]
    assert pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S) == [True] * 3
    assert not any(ref.is_alive() for ref in refs)


def test_refs_print_and_compare(start):
    one, other = start(), start()
    assert one.actor_urn in str(one)
    assert repr(one) == f"<ActorRef for {one}>"
    assert one != other
    assert len({one, other, one}) == 2


def test_what_is_put_into_the_inbox_arrives(ref):
    from pykka._envelope import Envelope

    future = type(ref.ask("any", block=False))()
    ref.actor_inbox.put(Envelope("by hand", reply_to=future))
    assert future.get(timeout=FAILSAFE_S) == "by hand"
