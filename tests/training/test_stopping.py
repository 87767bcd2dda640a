import os

import pytest

from hpo_utils.base.errors import StopRequest
from hpo_utils.training.stopping import Stop, create_stop


def test_without_a_deadline_or_a_file_nothing_stops(make_config):
    stop = create_stop(make_config())
    assert stop.reason() is None
    stop.check()
    stop.check_deadline()


def test_a_file_stops_what_began_before_it_was_made(tmp_path):
    file = tmp_path / "STOP"
    file.touch()
    os.utime(file, (100, 100))
    Stop(file, 101, None).check()  # an earlier search's
    stop = Stop(file, 99, None)
    stop.check_deadline()  # not between steps
    with pytest.raises(StopRequest, match="STOP is there"):
        stop.check()


def test_the_deadline_counts_from_the_start(tmp_path):
    Stop(tmp_path / "STOP", 1e12, 1.0).check_deadline()
    overdue = Stop(tmp_path / "STOP", 0.0, 1.0)
    assert overdue.overdue()
    for check in (overdue.check, overdue.check_deadline):
        with pytest.raises(StopRequest, match=r"study.timeout = 1 s"):
            check()
