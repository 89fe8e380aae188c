"""The judge of single cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.simulation import BrokenPromise
from tests.simulation.linearizability import CellModel, Operation, check_linearizable


def op(apply, result, called_at, returned_at):
    return Operation("operation", apply, result, called_at, returned_at)


def check(*operations):
    check_linearizable(operations, CellModel.INITIAL)


def test_operations_one_after_the_other():
    check(op(CellModel.set("a"), 1, 0, 1), op(CellModel.read, (1, "a"), 2, 3), op(CellModel.delete, True, 4, 5))


def test_operations_that_overlap_may_have_happened_in_either_order():
    for seen in [(1, "a"), (2, "b")]:
        check(op(CellModel.set("a"), 1, 0, 9), op(CellModel.set("b"), 2, 0, 9), op(CellModel.read, seen, 0, 9))


def test_an_operation_without_an_answer_may_have_happened_or_not():
    check(op(CellModel.set("a"), None, 0, None), op(CellModel.read, (1, "a"), 5, 6))
    check(op(CellModel.set("a"), None, 0, None), op(CellModel.read, None, 5, 6))


def test_an_operation_without_an_answer_did_not_happen_before_it_was_called():
    with pytest.raises(BrokenPromise):
        check(op(CellModel.read, (1, "a"), 0, 1), op(CellModel.set("a"), None, 5, None))


def test_a_stale_read_is_found():
    with pytest.raises(BrokenPromise, match="not linearizable"):
        check(op(CellModel.set("a"), 1, 0, 1), op(CellModel.read, None, 2, 3))


def test_two_swaps_that_both_succeed_are_found():
    with pytest.raises(BrokenPromise):
        check(
            op(CellModel.set("a"), 1, 0, 1),
            op(CellModel.cas(1, "b"), 2, 2, 9),
            op(CellModel.cas(1, "c"), 2, 2, 9),
        )


def test_versions_go_on_after_a_delete():
    check(op(CellModel.set("a"), 1, 0, 1), op(CellModel.delete, True, 2, 3), op(CellModel.set("b"), 2, 4, 5))
    check(op(CellModel.delete, False, 0, 1), op(CellModel.cas(0, "b"), "refused", 4, 5))


@given(st.lists(st.integers(0, 3), max_size=8), st.data())
def test_what_one_cell_answered_is_linearizable_however_long_the_answers_took(program, data):
    state = CellModel.INITIAL
    operations = []
    for at, kind in enumerate(program):
        apply = [CellModel.read, CellModel.set(at), CellModel.cas(state[0], at), CellModel.delete][kind]
        state, result = apply(state)
        early, late = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 30))
        operations.append(op(apply, result, 10 * at - early, 10 * at + late))
    check_linearizable(data.draw(st.permutations(operations)), CellModel.INITIAL)
