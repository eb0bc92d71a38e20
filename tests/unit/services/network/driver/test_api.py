"""What drivers answer."""

from objstore.errors import Unavailable
from objstore.services.network.driver.api import Carried, NotTold, UserMode


def test_what_a_driver_was_not_told_of_yet_may_be_asked_for_again() -> None:
    assert issubclass(NotTold, Unavailable)


def test_answers_start_out_empty() -> None:
    assert (Carried(3).up, Carried(3).failures, UserMode("p", "user").forwards) == ((), {}, ())
