import math

import pytest

from inmem.times import duration, iso, moment


def test_a_time_is_shown_to_the_millisecond():
    assert moment(1_700_000_000_123_456) == "2023-11-14 22:13:20.123"


@pytest.mark.parametrize(
    ("span_us", "shown"),
    [
        (0, "0 µs"), (999, "999 µs"), (1000, "1.00 ms"), (12_345, "12.3 ms"), (39_000, "39.0 ms"), (123_400, "123 ms"),
        (999_600, "1.00 s"), (12_340_000, "12.3 s"), (59_990_000, "60.0 s"),
        (61_000_000, "1 min 1 s"), (3_700_000_000, "1 h 1 min"), (200_000_000_000, "2 d 7 h"), (-1000, "-1.00 ms"),
        (math.inf, "∞"), (2**63 * 1000, "106,751,991,167 d 7 h"),
    ],
)  # fmt: skip
def test_durations_read_well(span_us, shown):
    assert duration(span_us) == shown


def test_times_past_the_end_of_the_calendar_are_numbers():
    assert (moment(0), iso(0)) == ("1970-01-01 00:00:00.000", "1970-01-01T00:00:00+00:00")
    assert (moment(2**63 - 1), iso(2**63 - 1)) == ("9223372036854775807 µs", "")
