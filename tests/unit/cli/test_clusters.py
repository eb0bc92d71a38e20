"""Which classes and policies go together, before a process starts with them."""

import pytest

from objstore.cli.clusters import check_classes, with_classes
from objstore.fronts.s3.settings import S3Settings
from objstore.objects.context import ObjectSettings
from objstore.runtime.config import ConfigError

RINGS = {"cold": "/rings/cold.ring"}


def test_classes_are_given_to_policies_that_are_there() -> None:
    check_classes(ObjectSettings(), {})
    check_classes(ObjectSettings(storage_classes={"STANDARD_IA": "cold"}), RINGS)


@pytest.mark.parametrize(
    ("classes", "rings", "hint"),
    [
        ({"STANDARD_IA": "cold"}, {}, "none besides"),
        ({"STANDARD_IA": "dark"}, RINGS, "'dark'.*there is cold"),
        ({"STANDARD": "cold"}, RINGS, "STANDARD"),
        ({}, {"Cold": "/x"}, "name of a storage policy"),
    ],
)
def test_what_does_not_fit_is_told_at_the_start(classes: dict[str, str], rings: dict[str, str], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        check_classes(ObjectSettings(storage_classes=classes), rings)


def test_a_class_with_a_policy_is_one_that_clients_may_name() -> None:
    plain = S3Settings()
    assert with_classes(plain, ObjectSettings()) is plain
    assert with_classes(plain, ObjectSettings(storage_classes={"STANDARD_IA": "cold"})) is plain
    assert with_classes(plain, ObjectSettings(storage_classes={"COLD": "cold"})).storage_classes == (*plain.storage_classes, "COLD")
