import gc
import signal
import threading
from contextlib import suppress

import pytest

from hpo_utils.base.interrupts import held_back, raise_dropped, remembered

pytestmark = pytest.mark.usefixtures("interruptible")


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_for_the_end_of_the_block():
    done = []

    @held_back()
    def work():
        interrupt()
        done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait():
    done = []

    @held_back()
    def work():
        interrupt()
        done.append("what came between")
        interrupt()
        done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["what came between"]


def test_a_block_within_a_block_waits_for_the_outer_one():
    done = []

    @held_back()
    def work():
        held_back()(interrupt)()
        done.append("the outer rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the outer rest"]


def test_where_interrupts_are_ignored_they_stay_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_back():
            interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


class Dropped:
    """Something whose destruction an interrupt falls into."""

    def __init__(self):
        self.itself = self  # only the garbage collector can destroy it

    def __del__(self):
        interrupt()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_raised_again():
    done = []

    @remembered()
    def work():
        Dropped()
        gc.collect()
        done.append("what came between")
        raise_dropped()
        done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["what came between"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    raise_dropped()  # it is over


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_is_dropped_at_last_is_raised_at_the_end():
    done = []

    @remembered()
    def work():
        Dropped()
        gc.collect()
        done.append("all")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all"]


def test_an_interrupt_that_is_held_back_is_remembered_too():
    done = []

    @remembered()
    def work():
        with suppress(KeyboardInterrupt), held_back():
            interrupt()
            raise_dropped()
            done.append("the block")
        raise_dropped()
        done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the block"]


@pytest.mark.parametrize("block", [held_back, remembered])
def test_other_threads_have_no_interrupts(block):
    handlers = []

    def work():
        with block():
            handlers.append(signal.getsignal(signal.SIGINT))
            raise_dropped()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
