import signal
import threading

import pytest

from hpo_utils.base.interrupts import held_back

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


def test_other_threads_hold_nothing_back():
    handlers = []

    @held_back()
    def work():
        handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
