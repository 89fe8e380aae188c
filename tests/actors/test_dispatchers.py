"""What every dispatcher promises, and what the caller dispatcher promises to the threads that run it."""

import contextlib
import itertools
import threading
import time
from types import SimpleNamespace

import pykka
import pytest

from inmem.actors.dispatch import caller_dispatcher, interrupts, threads_dispatcher, timers
from inmem.actors.dispatch.actor import LATER
from inmem.actors.dispatch.caller_dispatcher import TELLER_MESSAGES_MAX, CallerDispatcher
from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.dispatch.mailbox_lane import mailbox_lane
from inmem.messages import PutKey
from tests.actors.faulty_disk import FaultyDisk, open_on
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, Stage, in_threads


@pytest.fixture(params=DISPATCHERS)
def stage(request):
    stage = Stage(DISPATCHERS[request.param]())
    yield stage
    stage.close()


@pytest.fixture
def caller_stage():
    stage = Stage(CallerDispatcher())
    yield stage
    stage.close()


@pytest.mark.parametrize("own_thread", [False, True])
def test_an_actor_handles_one_message_at_a_time(stage, own_thread):
    ref = stage.start(own_thread=own_thread)
    inside = []
    overlaps = []

    def enter(_):
        inside.append(None)
        overlaps.append(len(inside))
        inside.pop()

    def work(number):
        for index in range(300):
            if (index + number) % 2:
                ref.ask(enter)
            else:
                ref.tell(enter)

    in_threads(*(lambda number=number: work(number) for number in range(6)))
    ref.ask("all done")
    assert len(overlaps) == 1800
    assert set(overlaps) == {1}


@pytest.mark.parametrize("own_thread", [False, True])
def test_messages_between_a_pair_stay_in_order(stage, own_thread):
    refs = [stage.start(f"receiver-{index}", own_thread=own_thread) for index in range(2)]

    def send(sender):
        for number in range(300):
            for ref in refs:
                ref.tell((sender, number))

    in_threads(*(lambda sender=sender: send(sender) for sender in range(4)))
    for ref in refs:
        heard = ref.ask(lambda actor: list(actor.heard))
        for sender in range(4):
            assert [number for who, number in heard if who == sender] == list(range(300))


def test_messages_from_actor_to_actor_stay_in_order(stage):
    relay, receiver = stage.start("relay"), stage.start("receiver")

    def pass_on(number):
        return lambda _: receiver.tell(number)

    for number in range(300):
        relay.tell(pass_on(number))
    relay.ask("all passed on")
    assert receiver.ask(lambda actor: list(actor.heard)) == list(range(300))


def test_a_handler_can_post_to_anybody_and_is_not_re_entered(stage):
    ref, other = stage.start("one"), stage.start("other")

    def outer(actor):
        ref.tell("to itself")
        other.tell(lambda _: ref.tell("by way of the other"))
        future = other.ask("asked from inside", block=False)
        return list(actor.heard), future

    heard, future = ref.ask(outer)
    assert heard == []
    assert future.get(timeout=FAILSAFE_S) == "asked from inside"
    other.ask("passed on by now")
    assert ref.ask(lambda actor: list(actor.heard)) == ["to itself", "by way of the other"]


def test_a_chain_of_messages_runs_to_its_end(stage):
    """No recursion: each message is posted by the one before."""
    refs = [stage.start(str(index)) for index in range(3)]
    done = threading.Event()

    def step(number):
        if number == 0:
            done.set()
        else:
            refs[number % 3].tell(lambda _: step(number - 1))

    step(5000)
    assert done.wait(FAILSAFE_S)


@pytest.mark.parametrize("seed", range(4))
def test_no_message_is_left_behind(stage, seed):
    """Many threads ask, tell and wait for futures in different mixtures; every reply arrives and every message too."""
    refs = [stage.start(str(index), own_thread=index == 2) for index in range(3)]

    def work(number):
        futures = []
        for index in range(150):
            ref = refs[(index * (seed + 1) + number) % 3]
            match (index * 7 + number + seed) % 4:
                case 0:
                    assert ref.ask((number, index), timeout=FAILSAFE_S) == (number, index)
                case 1:
                    futures.append((index, ref.ask((number, index), block=False)))
                case 2:
                    ref.tell((number, index))
                case _:
                    # The answer comes from another actor's handler, so somebody else may have to run it.
                    neighbour = refs[(index + 1) % 3]
                    inner = ref.ask(
                        lambda _, i=index, to=neighbour: to.ask((number, i), block=False), timeout=FAILSAFE_S
                    )
                    assert inner.get(timeout=FAILSAFE_S) == (number, index)
        for index, future in futures:
            assert future.get(timeout=FAILSAFE_S) == (number, index)

    in_threads(*(lambda number=number: work(number) for number in range(8)))
    heard = [message for ref in refs for message in ref.ask(lambda actor: list(actor.heard), timeout=FAILSAFE_S)]
    assert sorted(heard) == [(number, index) for number in range(8) for index in range(150)]


def test_threads_that_wait_on_each_others_turns_all_get_through(stage):
    """Each reply is there only after another thread's message: nobody may sleep on the last one."""
    ref = stage.start()
    waiting = {}

    def meet(place, reply_to):
        def handle(_):
            other = waiting.pop(place, None)
            if other is None:
                waiting[place] = reply_to
            else:
                other.set("met")
                reply_to.set("met")

        return handle

    def work():
        for place in range(400):
            reply = stage.dispatcher.future()
            ref.tell(meet(place, reply))
            assert reply.get(timeout=FAILSAFE_S) == "met"

    in_threads(work, work)
    in_threads(*[work] * 6)


def test_a_timed_out_get_leaves_the_others_running(stage):
    ref, other = stage.start("one"), stage.start("other")
    never = stage.dispatcher.future()
    stop = threading.Event()

    def give_up():
        for _ in range(50):
            with pytest.raises(pykka.Timeout):
                never.get(timeout=0)
            with pytest.raises(pykka.Timeout):
                never.get(timeout=0.0001)
        stop.set()

    def work():
        for count in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
            assert ref.ask(count, timeout=FAILSAFE_S) == count
            assert other.ask(count, timeout=FAILSAFE_S) == count

    in_threads(give_up, work, work)


def test_an_actor_with_its_own_thread_blocks_nobody(stage):
    blocking, free = stage.start("blocking", own_thread=True), stage.start("free")
    go = threading.Event()
    held = blocking.ask(lambda _: go.wait(FAILSAFE_S), block=False)
    assert free.ask("goes on", timeout=FAILSAFE_S) == "goes on"
    assert stage.dispatcher.depth(blocking.mailbox) in {0, 1}
    go.set()
    assert held.get(timeout=FAILSAFE_S) is True


def test_own_threads_are_made_once(stage):
    for _ in range(20):
        ref = stage.start(own_thread=True)
        idents = in_threads(*[lambda ref=ref: ref.ask(lambda _: threading.get_ident())] * 4)
        assert len(set(idents)) == 1
        assert idents[0] != threading.get_ident()


def test_what_an_own_thread_sends_is_handled(stage):
    blocking, free = stage.start("blocking", own_thread=True), stage.start("free")
    reply = stage.dispatcher.future()
    blocking.tell(lambda _: free.send("from another thread", reply))
    assert reply.get(timeout=FAILSAFE_S) == "from another thread"


def through(front, lender, work):
    """Ask `front`, who has `lender` do the work and answer."""

    def pass_on(actor):
        lender.send(lambda _: work(), actor._reply_to)
        return LATER

    return front.ask(pass_on)


@pytest.fixture
def lending(caller_stage):
    interrupts.install()
    return caller_stage.start("front"), caller_stage.start("lender", own_thread=True, lends_itself=True)


def test_who_waits_alone_for_an_actor_that_lends_itself_does_its_work(lending):
    for _ in range(3):
        assert through(*lending, threading.get_ident) == threading.get_ident()
    failure = RuntimeError("an error goes where it always goes")

    def fail():
        raise failure

    with pytest.raises(RuntimeError) as caught:
        through(*lending, fail)
    assert caught.value is failure
    assert through(*lending, threading.get_ident) == threading.get_ident()


def test_while_somebody_else_waits_it_works_in_its_own_thread(caller_stage, lending):
    never = caller_stage.dispatcher.future()
    waiter = threading.Thread(target=never.get, daemon=True)
    waiter.start()
    while not caller_stage.dispatcher._waiters:
        assert waiter.is_alive()
    assert through(*lending, threading.get_ident) != threading.get_ident()
    never.set()
    waiter.join(FAILSAFE_S)


def test_an_exposed_thread_that_is_woken_in_place_of_one_that_runs_the_queue_has_it_run_and_waits_on(
    caller_stage, monkeypatch
):
    """Both wait for the same reply, and whoever stopped running chose the other one."""
    monkeypatch.setattr(interrupts, "is_exposed", lambda: threading.current_thread() is threading.main_thread())
    dispatcher, ref = caller_stage.dispatcher, caller_stage.start()

    class Woken(ReplyFuture):
        def block(self, timeout_s):
            is_there = super().block(timeout_s)
            if not is_there:
                dispatcher._queue.append((ref.mailbox, lambda _: self.set("there"), None))
            return is_there

    reply = Woken(dispatcher)
    reply.arm()
    reply.nudge()
    assert reply.get() == "there"
    with pytest.raises(pykka.Timeout, match=r"0\.01 seconds"):
        dispatcher.future().get(timeout=0.01)


def test_nobody_is_woken_to_run_an_empty_queue(caller_stage, monkeypatch):
    ref = caller_stage.start()
    never = caller_stage.dispatcher.future()
    waiter = threading.Thread(target=never.get, daemon=True)
    waiter.start()
    while not caller_stage.dispatcher._waiters:
        assert waiter.is_alive()
    woken = []
    nudge = ReplyFuture.nudge

    def noting(future):
        if not future.done:
            woken.append(future)
        nudge(future)

    monkeypatch.setattr(ReplyFuture, "nudge", noting)
    # Not in the main thread, for which a deputy runs the queue here.
    assert in_threads(lambda: [ref.ask(number) for number in range(10)]) == [[*range(10)]]
    assert woken == []
    never.set()
    waiter.join(FAILSAFE_S)


def test_who_has_no_time_left_does_no_work_that_may_block(lending):
    front, lender = lending
    future = front.ask(
        lambda actor: lender.send(lambda _: threading.get_ident(), actor._reply_to) or LATER, block=False
    )
    with contextlib.suppress(pykka.Timeout):
        future.get(timeout=0)
    assert future.get(timeout=FAILSAFE_S) != threading.get_ident()


def test_an_actor_that_lends_itself_starts_at_once_when_there_is_other_work(caller_stage, lending):
    front, lender = lending
    endless = caller_stage.start("endless")
    arrived = threading.Event()

    def go_on(actor):
        if not arrived.is_set():
            actor.ref.tell(go_on)

    def pass_on(actor):
        lender.send(lambda _: arrived.set() or threading.get_ident(), actor._reply_to)
        endless.tell(go_on)
        return LATER

    assert front.ask(pass_on, timeout=FAILSAFE_S) != threading.get_ident()


def test_while_one_thread_does_the_work_the_queue_is_free_for_others(caller_stage, lending):
    free = caller_stage.start("free")
    begun, go = threading.Event(), threading.Event()

    def held():
        begun.set()
        assert go.wait(FAILSAFE_S)
        return threading.get_ident()

    def other():
        assert begun.wait(FAILSAFE_S)
        answer = free.ask("goes on", timeout=FAILSAFE_S)
        go.set()
        return answer

    def own():
        return through(*lending, held) == threading.get_ident()

    assert in_threads(own, other) == [True, "goes on"]


def test_an_actor_that_lends_itself_still_does_one_thing_at_a_time(lending):
    front, lender = lending
    begun, go = threading.Event(), threading.Event()

    def held(_):
        begun.set()
        return go.wait(FAILSAFE_S) and threading.get_ident()

    # Nobody waits for this one, so it is done elsewhere.
    elsewhere = lender.ask(held, block=False)
    assert begun.wait(FAILSAFE_S)
    idents = in_threads(
        lambda: through(front, lender, lambda: (go.is_set(), threading.get_ident())),
        go.set,
    )
    was_set, ident = idents[0]
    assert was_set
    assert elsewhere.get(timeout=FAILSAFE_S) != threading.get_ident()
    assert ident


def test_a_message_posted_for_later_arrives(stage):
    ref = stage.start()
    arrived = threading.Event()
    stage.dispatcher.post_later(0.0, ref.mailbox, lambda _: arrived.set())
    assert arrived.wait(FAILSAFE_S)


def test_messages_for_later_come_in_the_order_of_their_deadlines(stage, monkeypatch):
    ref = stage.start()
    arrived = threading.Event()
    # However long it takes to post them, they are posted at one moment.
    now_s = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(timers, "time", SimpleNamespace(monotonic=lambda: now_s))
        for number, delay_s in ((2, 0.02), (1, 0.01), (0, 0.0)):
            stage.dispatcher.post_later(delay_s, ref.mailbox, number)
        stage.dispatcher.post_later(0.03, ref.mailbox, lambda _: arrived.set())
    assert arrived.wait(FAILSAFE_S)
    assert ref.ask(lambda actor: list(actor.heard)) == [0, 1, 2]


def test_after_shut_down_nothing_is_posted_later():
    stage = Stage(CallerDispatcher())
    ref = stage.start()
    stage.dispatcher.shut_down()
    stage.dispatcher.post_later(0.0, ref.mailbox, "too late")
    assert ref.ask(lambda actor: list(actor.heard)) == []


def test_the_thread_that_asks_runs_the_actor(caller_stage):
    # As opening a store does. With a handler of somebody else's in place, a deputy would run it.
    interrupts.install()
    ref = caller_stage.start()
    assert ref.ask(lambda _: threading.get_ident()) == threading.get_ident()
    told = []
    ref.tell(lambda _: told.append(threading.get_ident()))
    assert told == [threading.get_ident()]


class WatchedLock:
    """A lock that calls back when a thread is about to wait for it, and when the main thread has got it."""

    def __init__(self, about_to_wait, main_holds_it):
        self._lock = threading.Lock()
        self._about_to_wait = about_to_wait
        self._main_holds_it = main_holds_it
        self.release = self._lock.release
        self.locked = self._lock.locked

    def acquire(self, blocking=True):
        if blocking:
            self._about_to_wait()
        taken = self._lock.acquire(blocking)
        if taken and threading.current_thread() is threading.main_thread():
            self._main_holds_it()
        return taken

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()


def test_an_exposed_thread_past_the_limit_waits_and_strands_nobody(caller_stage, monkeypatch):
    """Whoever finds the queue held leaves its message to the holder, so a holder that runs nothing strands it."""
    monkeypatch.setattr(caller_dispatcher, "QUEUE_MESSAGES_MAX", 1)
    monkeypatch.setattr(interrupts, "is_exposed", lambda: threading.current_thread() is threading.main_thread())
    ref = caller_stage.start()
    handling, go_on, arrived = threading.Event(), threading.Event(), threading.Event()
    told = []

    def first_message(_):
        handling.set()
        assert go_on.wait(FAILSAFE_S)

    def tell_from_elsewhere():
        told.append(None)
        thread = threading.Thread(target=lambda: ref.tell(lambda _: arrived.set()))
        thread.start()
        thread.join(FAILSAFE_S)

    caller_stage.dispatcher._running = WatchedLock(go_on.set, tell_from_elsewhere)
    runner = threading.Thread(target=lambda: ref.tell(first_message))
    runner.start()
    assert handling.wait(FAILSAFE_S)
    ref.tell("within the limit")
    assert not go_on.is_set()
    ref.tell("past it")
    # It has waited until somebody took part in the work.
    assert go_on.is_set()
    runner.join(FAILSAFE_S)
    if not told:
        tell_from_elsewhere()
    assert arrived.wait(FAILSAFE_S)
    assert ref.ask(lambda actor: list(actor.heard)) == ["within the limit", "past it"]


class WatchedFuture(ReplyFuture):
    """Tells when a thread is about to block on it."""

    __slots__ = ("about_to_block", "may_block")

    def __init__(self, waiting):
        super().__init__(waiting)
        self.about_to_block = threading.Event()
        self.may_block = threading.Event()
        self.may_block.set()

    def block(self, timeout_s):
        self.about_to_block.set()
        assert self.may_block.wait(FAILSAFE_S)
        return super().block(timeout_s)


def test_a_thread_whose_reply_is_there_hands_over_to_one_that_waits(caller_stage):
    """The first thread is run into the ground with messages behind its own; the second has to take them on."""
    dispatcher = caller_stage.dispatcher
    ref = caller_stage.start()
    handling, second_waits = threading.Event(), threading.Event()
    runners = []

    def first_message(_):
        handling.set()
        assert second_waits.wait(FAILSAFE_S)
        return "first"

    second = WatchedFuture(dispatcher)

    def ask_second():
        assert handling.wait(FAILSAFE_S)
        for _ in range(10):
            ref.tell(lambda _: runners.append(threading.get_ident()))
        ref.send("second", second)
        threading.Thread(target=lambda: second.about_to_block.wait(FAILSAFE_S) and second_waits.set()).start()
        return second.get(timeout=FAILSAFE_S), threading.get_ident()

    first, (second_reply, second_ident) = in_threads(lambda: ref.ask(first_message), ask_second)
    assert (first, second_reply) == ("first", "second")
    assert runners == [second_ident] * 10


def test_a_hand_over_reaches_a_thread_that_is_just_about_to_block(caller_stage):
    dispatcher = caller_stage.dispatcher
    ref = caller_stage.start()
    handling, go_on = threading.Event(), threading.Event()
    second = WatchedFuture(dispatcher)
    second.may_block.clear()

    def first_message(_):
        handling.set()
        assert go_on.wait(FAILSAFE_S)
        return "first"

    def ask_first():
        # Returns at once, leaving the second message to the thread that waits for it.
        reply = ref.ask(first_message)
        second.may_block.set()
        return reply

    def ask_second():
        assert handling.wait(FAILSAFE_S)
        ref.send("second", second)
        return second.get(timeout=FAILSAFE_S)

    def conduct():
        assert second.about_to_block.wait(FAILSAFE_S)
        go_on.set()

    assert in_threads(ask_first, ask_second, conduct) == ["first", "second", None]


@pytest.mark.parametrize("others", ["ask", "tell", "ask for futures"])
def test_a_thread_whose_reply_is_there_returns_although_others_keep_posting(caller_stage, others):
    ref = caller_stage.start()
    returned = threading.Event()

    def post():
        while not returned.is_set():
            match others:
                case "ask":
                    ref.ask(lambda _: None)
                case "tell":
                    ref.tell(lambda _: None)
                case _:
                    ref.ask(lambda _: None, block=False)

    def ask():
        # A few times only: what is posted in the meantime lies ahead of the next message.
        for number in range(3):
            assert ref.ask(number) == number
        returned.set()

    in_threads(ask, post, post, post)


def test_a_tired_thread_is_relieved_by_the_next_that_posts(caller_stage):
    """Nobody waits, but somebody posts: the thread whose reply is there need not run the backlog to its end."""
    ref = caller_stage.start()
    handling, posted, held, relieved = (threading.Event() for _ in range(4))
    runners = []

    def note(_):
        runners.append(threading.get_ident())

    def first_message(_):
        handling.set()
        assert posted.wait(FAILSAFE_S)
        return "first"

    def hold(_):
        # Runs in the first thread, whose reply is there, until the one that posts stands by to take over.
        note(_)
        held.set()
        while not caller_stage.dispatcher._relieving.locked():
            assert not relieved.is_set()

    def ask_first():
        reply = ref.ask(first_message)
        return reply, threading.get_ident()

    def post():
        assert handling.wait(FAILSAFE_S)
        ref.tell(note)
        ref.tell(hold)
        for _ in range(20):
            ref.tell(note)
        posted.set()
        assert held.wait(FAILSAFE_S)
        ref.tell(note)
        relieved.set()
        return threading.get_ident()

    (reply, first_ident), second_ident = in_threads(ask_first, post)
    assert reply == "first"
    assert runners == [first_ident] * 2 + [second_ident] * 21


def test_a_teller_is_released_after_its_share(caller_stage):
    ref = caller_stage.start()
    handling, posted = threading.Event(), threading.Event()
    runners = []
    waiter = WatchedFuture(caller_stage.dispatcher)

    def first_message(_):
        handling.set()
        assert posted.wait(FAILSAFE_S)

    def post():
        assert handling.wait(FAILSAFE_S)
        for _ in range(3 * TELLER_MESSAGES_MAX):
            ref.tell(lambda _: runners.append(threading.get_ident()))
        ref.send("last", waiter)
        threading.Thread(target=lambda: waiter.about_to_block.wait(FAILSAFE_S) and posted.set()).start()
        return waiter.get(timeout=FAILSAFE_S), threading.get_ident()

    teller, (reply, waiter_ident) = in_threads(
        lambda: ref.tell(first_message) or threading.get_ident(),
        post,
    )
    assert reply == "last"
    assert runners == [teller] * TELLER_MESSAGES_MAX + [waiter_ident] * (2 * TELLER_MESSAGES_MAX)


def test_a_thread_whose_time_is_up_stops_running_other_peoples_messages(caller_stage):
    ref = caller_stage.start()
    never = caller_stage.dispatcher.future()
    stop = threading.Event()

    def post():
        while not stop.is_set():
            ref.ask(lambda _: None)

    def give_up():
        for _ in range(20):
            with pytest.raises(pykka.Timeout):
                never.get(timeout=0.001)
        stop.set()

    in_threads(give_up, post, post)


def test_the_reply_to_a_timed_out_ask_comes_all_the_same(stage):
    ref = stage.start(own_thread=True)
    go = threading.Event()
    future = ref.ask(lambda _: go.wait(FAILSAFE_S), block=False)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    go.set()
    assert future.get(timeout=FAILSAFE_S) is True


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_who_asks_for_a_limited_time_does_no_work_that_takes_longer(tmp_path, dispatcher):
    """Under `caller` whoever waits alone syncs the log itself, unless its time is limited."""
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, dispatcher=dispatcher, durability="always") as db:
        db.put("run", "k", 0)
        gate = disk.gate("sync", ".wal")
        with pytest.raises(pykka.Timeout):
            db.directory.supervisor.ask(PutKey("run", "k", 1), timeout=0.01)
        assert gate.arrived.wait(FAILSAFE_S)
        gate.open()
        assert db.put("run", "k", 2) == 3


@pytest.mark.parametrize("was_used", [True, False])
def test_who_had_found_a_lane_before_it_was_closed_is_answered(was_used):
    """Its message comes behind the end; the thread that would have handled it is gone, or never was."""
    stage = Stage(DISPATCHERS["threads"]())
    ref = stage.start()
    lane = mailbox_lane(ref.mailbox)
    if was_used:
        future = stage.dispatcher.future()
        lane.put(("hello", future))
        assert future.get(timeout=FAILSAFE_S) == "hello"
    ref.stop(timeout=FAILSAFE_S)
    lane.close()
    for _ in range(2):
        late = stage.dispatcher.future()
        lane.put(("late", late))
        with pytest.raises(pykka.ActorDeadError):
            late.get(timeout=FAILSAFE_S)
    stage.close()


def test_who_pauses_comes_back_when_nobody_runs_the_queue(caller_stage):
    """A thread that tries again after a conflict waits for its turn, where it would only meet the same thread again."""
    dispatcher, ref = caller_stage.dispatcher, caller_stage.start()
    handling = threading.Event()
    order = []

    def handle(_):
        handling.set()
        deadline_s = time.monotonic() + FAILSAFE_S
        while not dispatcher._relieving.locked():
            assert time.monotonic() < deadline_s
        order.append("handled")

    def pause():
        assert handling.wait(FAILSAFE_S)
        dispatcher.sleep(0)
        order.append("back")

    in_threads(lambda: ref.ask(handle), pause)
    assert order == ["handled", "back"]


def test_a_stopped_mailbox_gets_no_lane_that_nobody_would_close():
    """A timer, or an answer on its way, may come when the mailbox is closed already."""
    stage = Stage(DISPATCHERS["threads"]())
    ref = stage.start()
    assert ref.ask("hello") == "hello"
    ref.stop(timeout=FAILSAFE_S)
    late = stage.dispatcher.future()
    stage.dispatcher.post(ref.mailbox, "late", late)
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=FAILSAFE_S)
    assert not stage.dispatcher._lanes
    stage.close()


def test_a_mailbox_that_is_stopped_while_its_lane_is_made_keeps_none(monkeypatch):
    stage = Stage(DISPATCHERS["threads"]())
    ref = stage.start()
    lanes = []

    def lane_too_late(mailbox):
        mailbox.retire()
        stage.dispatcher.close(mailbox)
        lanes.append(mailbox_lane(mailbox))
        return lanes[0]

    monkeypatch.setattr(threads_dispatcher, "mailbox_lane", lane_too_late)
    late = stage.dispatcher.future()
    stage.dispatcher.post(ref.mailbox, "late", late)
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=FAILSAFE_S)
    assert not stage.dispatcher._lanes
    [lane] = lanes
    lane._worker.thread.join(FAILSAFE_S)
    assert not lane._worker.thread.is_alive()
    pykka.ActorRegistry.unregister(ref)
    stage.close()


@pytest.fixture
def no_room(caller_stage):
    """A message over which its actor has no room left, the first time, once something else waits in the queue."""
    handling = threading.Event()
    times = []

    def raising(actor):
        if not times:
            times.append("first")
            handling.set()
            while not caller_stage.dispatcher.backlog(actor.mailbox):
                time.sleep(0.001)
            raise RecursionError

    return raising, handling


def test_who_lets_others_run_the_queue_is_answered_when_one_of_them_has_no_room(caller_stage, no_room):
    """As the main thread does with a signal handler of its own, and everybody who awaits."""
    raising, handling = no_room
    ref = caller_stage.start()

    def runs():
        with pytest.raises(RecursionError):
            ref.ask(raising)

    def leaves_it_to_others():
        assert handling.wait(FAILSAFE_S)
        future = ref.ask("hears", block=False)
        assert future.block(FAILSAFE_S)
        return future.get()

    assert in_threads(runs, leaves_it_to_others)[1] == "hears"


def test_the_main_thread_with_a_signal_handler_of_its_own_is_answered_when_another_has_no_room(
    caller_stage, no_room, monkeypatch
):
    raising, handling = no_room
    ref = caller_stage.start()
    monkeypatch.setattr(interrupts, "is_exposed", lambda: threading.current_thread() is threading.main_thread())

    def runs():
        with pytest.raises(RecursionError):
            ref.ask(raising)

    runner = threading.Thread(target=runs)
    runner.start()
    assert handling.wait(FAILSAFE_S)
    assert ref.ask("hears", timeout=FAILSAFE_S) == "hears"
    runner.join(FAILSAFE_S)


def test_when_the_system_has_no_thread_left_those_who_can_run_the_queue_do(caller_stage, no_room, monkeypatch):
    def refused(*_):
        raise RuntimeError("can't start new thread")

    raising, handling = no_room
    ref = caller_stage.start()
    monkeypatch.setattr(caller_dispatcher, "start_new_thread", refused)

    def runs():
        # And not that of the thread that could not be started.
        with pytest.raises(RecursionError):
            ref.ask(raising)

    def waits():
        assert handling.wait(FAILSAFE_S)
        return ref.ask("hears", timeout=FAILSAFE_S)

    assert in_threads(runs, waits)[1] == "hears"


def test_who_has_no_room_to_hand_over_leaves_nobody_behind(caller_stage, monkeypatch):
    hand_over = CallerDispatcher._hand_over
    ref = caller_stage.start()
    handling = threading.Event()
    times = []

    def none_at_first(self, own):
        if not times:
            times.append("first")
            raise RecursionError
        return hand_over(self, own)

    def hold(_):
        handling.set()
        while not caller_stage.dispatcher._waiters:
            time.sleep(0.001)

    def runs():
        with pytest.raises(RecursionError):
            ref.ask(hold)

    def waits():
        assert handling.wait(FAILSAFE_S)
        future = ref.ask("hears", block=False)
        return future.get(timeout=FAILSAFE_S)

    monkeypatch.setattr(CallerDispatcher, "_hand_over", none_at_first)
    assert in_threads(runs, waits)[1] == "hears"
    assert times


def test_who_has_no_room_to_take_over_leaves_nobody_behind(caller_stage, monkeypatch):
    run = CallerDispatcher._run
    ref = caller_stage.start()
    heard = threading.Event()
    times = []

    def none_at_first(self, until, deadline_s):
        if not times:
            times.append("first")
            raise RecursionError
        run(self, until, deadline_s)

    # As whoever ran the queue has left it to this thread.
    caller_stage.dispatcher.pass_on(ref.mailbox, lambda _: heard.set())
    monkeypatch.setattr(CallerDispatcher, "_run", none_at_first)
    with pytest.raises(RecursionError):
        caller_stage.dispatcher._relieve(patiently=True)
    assert heard.wait(FAILSAFE_S)


def test_who_has_no_room_to_take_over_is_told_so_when_the_system_has_no_thread_left_either(caller_stage, monkeypatch):
    def no_room(*_):
        raise RecursionError

    def refused(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(CallerDispatcher, "_run", no_room)
        patch.setattr(caller_dispatcher, "start_new_thread", refused)
        with pytest.raises(RecursionError):
            caller_stage.dispatcher._relieve(patiently=True)


def test_where_no_deputy_can_be_started_the_thread_that_was_to_ask_it_runs_the_queue(
    caller_stage, no_room, monkeypatch
):
    raising, handling = no_room
    ref = caller_stage.start()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    def runs():
        with pytest.raises(RecursionError):
            ref.ask(raising)

    def leaves_it_to_others():
        assert handling.wait(FAILSAFE_S)
        # Both threads are there.
        monkeypatch.setattr(threading.Thread, "start", refuse)
        future = ref.ask("hears", block=False)
        assert future.block(FAILSAFE_S)
        return future.get()

    assert in_threads(runs, leaves_it_to_others)[1] == "hears"
