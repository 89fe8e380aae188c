"""Errors carry facts, and carry them through pickle and copy: they cross process boundaries, and logs keep them."""

import copy
import inspect
import pickle

import pytest

import inmem
from inmem.actors.dispatch.mailbox import StoppedError
from inmem.engine import errors
from inmem.engine.commits.conflicts import CasConflict, ReadConflict, ScanConflict, WriteConflict
from inmem.engine.keys import Key

KEY = Key.kv("run", "k")
CONFLICTS = (
    ReadConflict(KEY, 1, 2),
    WriteConflict(KEY, 1, 2),
    CasConflict(KEY, 1, 2),
    ScanConflict(Key.kv("run", ""), None, 1, KEY, 2),
)
SAMPLES = {
    "InvalidValueError": ('payload["items"][3]', "datetime cannot be stored"),
    "InvalidStatusTransitionError": ("Archived", "Active", "run"),
    "ConflictError": (CONFLICTS,),
    "CasConflictError": ("cell", 1, 2, CONFLICTS[2:3], "run"),
    "RetriesExhaustedError": (11, CONFLICTS),
    "TransactionAbortedError": ("the store restarted",),
    "TransactionTimeoutError": (0.5,),
    "TransactionClosedError": ("committed",),
    "CommitOutcomeUnknownError": ("ab-1-0", "the log cannot be read"),
    "RunNotFoundError": ("run",),
    "CorruptionError": ("db/000000000001.wal", 64, "the payload does not match its checksum"),
    "FormatVersionError": ("db", "not a database"),
    "DatabaseLockedError": ("db", "process 1"),
    "StoreFailedError": ("the disk is gone",),
    "DatabaseNotFoundError": ("db",),
    "OverloadedError": ("kv", 100_000),
}
ERRORS = [
    *(e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, inmem.InmemError)),
    StoppedError,
]


def sample(error_class):
    """Return an error as the store raises it, with facts of SAMPLES or else of the kinds that its constructor wants."""
    if error_class in {inmem.ForkedProcessError, inmem.DatabaseClosedError}:
        return error_class()
    if error_class.__name__ in SAMPLES:
        return error_class(*SAMPLES[error_class.__name__])
    if not inspect.isfunction(error_class.__init__):
        return error_class("some text")
    wanted = list(inspect.signature(error_class).parameters.values())
    return error_class(*({"int": 1, "float": 1.5}.get(parameter.annotation, "some text") for parameter in wanted))


@pytest.mark.parametrize("error_class", ERRORS, ids=lambda error_class: error_class.__name__)
@pytest.mark.parametrize(
    "carry",
    [
        *(lambda error, p=p: pickle.loads(pickle.dumps(error, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy,
        copy.deepcopy,
    ],
    ids=[*(f"pickle {p}" for p in range(pickle.HIGHEST_PROTOCOL + 1)), "copy", "deepcopy"],
)
def test_an_error_arrives_as_it_was_sent(error_class, carry):
    sent = sample(error_class)
    sent.add_note("while booking")
    arrived = carry(sent)
    assert type(arrived) is error_class
    assert (str(arrived), arrived.args, vars(arrived)) == (str(sent), sent.args, vars(sent))
    assert arrived.retryable == sent.retryable
    with pytest.raises(error_class):
        raise arrived


def test_every_sample_is_of_an_error():
    assert SAMPLES.keys() <= {error_class.__name__ for error_class in ERRORS}


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if vars(errors).get(kind.__name__) is kind])
def test_an_error_has_the_name_under_which_users_import_it(kind):
    assert (kind.__module__, vars(inmem)[kind.__name__]) == ("inmem", kind)


def test_an_error_of_somebody_elses_keeps_its_own_module():
    class TheirError(inmem.UsageError):
        pass

    assert TheirError.__module__ == __name__
