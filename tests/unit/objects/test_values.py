"""What the values say beyond their fields."""

import pytest

from objstore.objects.values import NO_CONDITIONS, Conditions, CopySource


def test_no_conditions_are_false_however_they_were_made() -> None:
    assert not NO_CONDITIONS
    assert not Conditions()
    assert Conditions(if_match=())
    assert Conditions(if_modified_since_us=0)


@pytest.mark.parametrize(
    ("conditions", "demanded"),
    [
        (Conditions(if_match=("*",)), True),
        (Conditions(if_match_size=0), False),
        (Conditions(if_match_modified_us=0), False),
        (Conditions(if_none_match=("*",)), False),
        (Conditions(if_unmodified_since_us=1), False),
    ],
)
def test_what_demands_that_an_object_is_there(conditions: Conditions, *, demanded: bool) -> None:
    assert conditions.demands_presence is demanded


def test_a_customers_key_is_not_shown_where_a_source_is_logged() -> None:
    assert "secret" not in repr(CopySource("bucket", "key", customer_key=b"secret"))
