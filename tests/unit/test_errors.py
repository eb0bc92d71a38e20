"""The taxonomy: four kinds, facts as attributes."""

from objstore import errors


def test_every_leaf_is_of_one_of_the_three_expected_kinds() -> None:
    for thing in vars(errors).values():
        if isinstance(thing, type) and issubclass(thing, errors.ObjstoreError) and thing is not errors.ObjstoreError:
            kinds = [k for k in (errors.Refused, errors.Unavailable, errors.Damaged) if issubclass(thing, k)]
            assert len(kinds) == 1, thing
            assert thing.__doc__


def test_facts_are_attributes_and_the_docstring_is_the_default_message() -> None:
    failure = errors.PreconditionFailed(condition="If-Match")
    assert failure.condition == "If-Match"  # type: ignore[attr-defined]
    assert failure.message == errors.PreconditionFailed.__doc__
    assert errors.StaleEpoch("newer here", epoch=4).facts == {"epoch": 4}
