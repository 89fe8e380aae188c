"""CPython's own tests of the mapping protocol, on a run's KVStore."""

from itertools import count

import pytest

import inmem

# Some distributions leave the standard library's tests out.
mapping_tests = pytest.importorskip("test.mapping_tests")


class TestMappingProtocol(mapping_tests.BasicTestMappingProtocol):
    def setUp(self):
        self._db = inmem.open(":memory:")
        self.addCleanup(self._db.close)
        self._runs = count()

    def _reference(self):
        # Without the tuple of the original: tuples come back as lists, and those cannot be members of the test's sets.
        return {"1": "2", "key1": "value1", "key2": b"value2"}

    def _empty_mapping(self):
        return self._db.kv.mapping(f"run-{next(self._runs)}")
