"""A state machine with a plain model. Its rules run inside an open transaction, and commit or abort at any time."""

import copy

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.primitives.store import Store

# Names that could be mistaken for separators, prefixes, paths or index entries, and names with a common prefix.
HOSTILE_NAMES = [
    "a",
    "a__b",
    "a\x00",
    "a\x00\x00b",
    "a\x00\xff",
    "\x00",
    "__idx__",
    "../x",
    "é",
    "\U0001f600",
    "\uffff",
    "ab",
]

names = st.sampled_from(HOSTILE_NAMES)
name_sets = st.lists(names, max_size=3)
limits = st.none() | st.integers(0, 4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


picks = st.integers(0, 20)
"""Numbers that `TransactionMachine.pick` turns into names."""


def by_bytes(found):
    return sorted(found, key=str.encode)


class TransactionMachine(RuleBasedStateMachine):
    """Base of the machines. Subclasses keep in `model` what the open transaction must see, and override `check` and
    `new_model`."""

    clock_steps_back = False

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.committed = self.new_model()
        self.begin()

    def new_model(self):
        return {}

    def pick(self, at: int) -> str:
        """Return a name that is probably in the model; independently drawn names would rarely be equal."""
        candidates = [*self.model, *HOSTILE_NAMES[:2]]
        return candidates[at % len(candidates)]

    def begin(self) -> None:
        self.txn = self.store.begin()
        self.model = copy.deepcopy(self.committed)

    @rule(passed_us=st.integers(0, 3))
    def commit(self, passed_us: int) -> None:
        self.store.commit(self.txn)
        self.committed = self.model
        self.store.now_us += passed_us
        self.begin()
        self.check()

    @rule(passed_us=st.integers(-3, 3))
    def abort(self, passed_us: int) -> None:
        if passed_us > 0 or self.clock_steps_back:
            self.store.now_us += passed_us
        self.begin()
        self.check()

    def check(self) -> None:
        raise NotImplementedError
