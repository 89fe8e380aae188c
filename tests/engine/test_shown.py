"""What a message shows of an argument: little, on one line, and always something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.shown import ARGUMENT_CHARS_MAX, FAILURE_CHARS_MAX, class_name, shown, shown_failure, type_name
from tests.hostile import HUGE, MetaclassRaises, NoRepr, StrOfItsOwn


class Said:
    """Its repr is what it was told."""

    def __init__(self, said):
        self.said = said

    def __repr__(self):
        return self.said


class SaidError(Exception):
    def __repr__(self):
        return self.args[0]


@pytest.mark.parametrize("argument", [None, True, -3, 1.5, "text", b"bytes", (1, "a"), [1, [2]], {"a": {"b": 1}}, int])
def test_what_is_short_is_shown_as_it_is(argument):
    assert shown(argument) == repr(argument)


def test_an_int_that_cannot_be_written_out_shows_its_size():
    for argument in (HUGE, -HUGE, [HUGE], {HUGE: 1}):
        assert "an int of 16610 bits" in shown(argument)


def test_an_object_that_cannot_show_itself_is_named_by_its_type():
    for raiser in (NoRepr(), Said(5), Said(None)):
        assert type_name(raiser) in shown(raiser)
    assert shown(MetaclassRaises()) == "an object of type MetaclassRaises"


def test_a_text_with_methods_of_its_own_is_shown_all_the_same():
    assert shown_failure(SaidError(StrOfItsOwn("said"))) == "said"


@given(st.one_of(st.text(st.characters(exclude_categories=())), st.binary(), st.lists(st.text(), max_size=99)))
def test_it_is_short_and_can_be_printed(argument):
    for text in (shown(argument), shown(Said(str(argument)))):
        assert len(text) <= ARGUMENT_CHARS_MAX
        assert text.isprintable()
    text = shown_failure(SaidError(str(argument) * 50))
    assert len(text) <= FAILURE_CHARS_MAX
    assert text.isprintable()


def test_the_name_of_a_type_is_short_as_well():
    assert len(class_name(type("X" * 5000, (), {}))) == ARGUMENT_CHARS_MAX


def test_a_class_in_place_of_an_instance_is_called_a_class():
    assert type_name(ValueError) == "the class ValueError"
    assert type_name(type) == "the class type"
    assert type_name(MetaclassRaises) == "the class MetaclassRaises"
    assert type_name(ValueError()) == "ValueError"
