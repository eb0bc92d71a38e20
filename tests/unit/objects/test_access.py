import pytest

from objstore.errors import AccessDenied
from objstore.objects.access import TABLE, Action, authorize
from objstore.objects.api import Principal

ANONYMOUS = Principal(account="", anonymous=True)
ADMIN = Principal(account="root", admin=True)
OWN = Principal(account="a")
OTHER = Principal(account="b")


@pytest.mark.parametrize("action", Action)
def test_every_action_has_a_row_and_lets_the_owner_and_admins_in(action: Action) -> None:
    assert action in TABLE
    authorize(OWN, action, "a")
    authorize(ADMIN, action, "a")


@pytest.mark.parametrize("action", Action)
def test_nobody_without_an_account_may_do_anything(action: Action) -> None:
    for who in (ANONYMOUS, Principal(account=""), Principal(account="a", anonymous=True)):
        with pytest.raises(AccessDenied):
            authorize(who, action, "a")


@pytest.mark.parametrize("action", sorted(set(Action) - {Action.CREATE_BUCKET, Action.LIST_BUCKETS}, key=lambda a: a.name))
def test_another_account_may_do_nothing_in_a_bucket(action: Action) -> None:
    with pytest.raises(AccessDenied):
        authorize(OTHER, action, "a")
