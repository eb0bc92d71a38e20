from objstore.objects import actions
from objstore.objects.actions import Action


def test_every_action_is_one_of_s3s_and_of_no_two_names() -> None:
    assert all(action.value.startswith(("s3:", "objstore:")) for action in Action)
    assert Action.LIST_OBJECTS is Action.READ_BUCKET  # one permission, as on Amazon


def test_what_is_done_to_a_version_is_done_to_an_object() -> None:
    for plain, versioned in actions.OF_VERSION.items():
        assert versioned.value.replace("Version", "") == plain.value
        assert (plain in actions.ON_ROW) == (versioned in actions.ON_ROW)
        assert (plain in actions.BY_OBJECT_LIST) == (versioned in actions.BY_OBJECT_LIST)


def test_lists_of_objects_decide_only_what_is_done_to_objects_that_are_there() -> None:
    assert set(actions.BY_OBJECT_LIST) <= actions.ON_ROW <= actions.ON_OBJECT
    assert not set(actions.BY_BUCKET_LIST) & set(actions.BY_OBJECT_LIST)
    assert all("Object" in action.value or "Multipart" in action.value or "Governance" in action.value for action in actions.ON_OBJECT)
