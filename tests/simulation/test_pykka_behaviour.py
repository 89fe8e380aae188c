"""pykka's documented behaviour under the simulated dispatcher: the tests of tests/actors that need one thread only."""

import inspect

import pykka
import pytest

from inmem.simulation.choices import SeededChooser
from inmem.simulation.dispatcher import StoreDispatcher
from inmem.simulation.scheduler import Scheduler
from inmem.simulation.trace import TIMER
from tests.actors import test_pykka_behaviour
from tests.actors.stage import Stage

NEEDS_THREADS = {
    "test_ask_times_out_and_what_was_asked_for_is_still_done",
    "test_a_future_that_timed_out_can_be_asked_again",
    "test_get_all_times_out",
    "test_join_passes_the_timeout_on",
    "test_many_threads_may_wait_for_one_future",
    "test_messages_of_one_sender_arrive_in_order",
    "test_a_handler_runs_alone",
    "test_stop_lets_earlier_messages_through_and_refuses_later_ones",
    "test_a_future_can_be_awaited",
    "test_a_handler_may_tell_its_own_actor",
    "test_what_is_put_into_the_inbox_arrives",
}
"""They keep an actor busy with a second thread, or are about several; below are their like for one."""

BEHAVIOURS = [
    function
    for name, function in vars(test_pykka_behaviour).items()
    if name.startswith("test_")
    and name not in NEEDS_THREADS
    and set(inspect.signature(function).parameters) <= {"ref", "start"}
]


class Patient(SeededChooser):
    """Lets time pass only when nothing else is left to do: these tests' timeouts are there to end a hang."""

    def choose(self, count, labels=None):
        """Return any alternative but the timers."""
        if labels is not None and count > 1 and labels()[count - 1 :] == [TIMER]:
            count -= 1
        return super().choose(count, labels)


class SimulatedStage(Stage):
    """Actors under a scheduler, with the test itself as their only client."""

    def __init__(self, seed):
        self.scheduler = Scheduler(Patient(seed))
        super().__init__(StoreDispatcher(self.scheduler, "", lambda *_: True))
        self.count = 0

    def start_registered(self):
        self.count += 1
        ref = self.start(f"performer-{self.count}")
        pykka.ActorRegistry.register(ref)
        return ref


@pytest.fixture(params=range(3))
def stage(request):
    stage = SimulatedStage(request.param)
    yield stage
    stage.close()


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_an_actor_behaves_as_pykka_says(behaviour, stage):
    arguments = {}
    for name in inspect.signature(behaviour).parameters:
        arguments[name] = stage.start_registered if name == "start" else stage.start_registered()
    behaviour(**arguments)


def test_most_behaviours_are_tried():
    assert len(BEHAVIOURS) >= 20


def test_messages_of_one_sender_arrive_in_order(stage):
    ref = stage.start_registered()
    for number in range(50):
        ref.tell(number)
    assert ref.ask(lambda actor: list(actor.heard)) == list(range(50))


def test_a_handler_may_tell_its_own_actor(stage):
    ref = stage.start_registered()
    ref.ask(lambda actor: actor.actor_ref.tell("to myself"))
    stage.scheduler.run()
    assert ref.ask(lambda actor: list(actor.heard)) == ["to myself"]


def test_stop_lets_earlier_messages_through_and_refuses_later_ones(stage):
    ref = stage.start_registered()
    earlier = ref.ask("earlier", block=False)
    stopped = ref.stop(block=False)
    assert earlier.get() == "earlier"
    assert stopped.get() is True
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("later")


def test_an_ask_times_out_when_virtual_time_has_passed(stage):
    future = stage.start_registered().ask(lambda _: None, block=False)
    stage.scheduler.clear()
    with pytest.raises(pykka.Timeout):
        future.get(timeout=3600)
    assert stage.scheduler.now_us == 3_600_000_000
