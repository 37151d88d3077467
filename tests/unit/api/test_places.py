"""Room for long requests."""

import pytest

from api.context import Places
from shared.errors import Unavailable


def test_places_are_taken_and_given_back() -> None:
    places = Places(2)
    with places.taken(), places.taken(), pytest.raises(Unavailable):
        places.take()
    with places.taken(), places.taken():
        pass


def test_a_place_comes_back_after_an_error() -> None:
    places = Places(1)
    with pytest.raises(ZeroDivisionError), places.taken():
        raise ZeroDivisionError
    places.take()
