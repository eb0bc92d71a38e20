"""Settings make sense by themselves."""

from objstore.services.volume.settings import VolumeSettings


def test_limits_leave_room_for_more_than_one_commit() -> None:
    settings = VolumeSettings()
    assert settings.durability == "journal"
    assert settings.journal_bytes >= settings.changed_bytes
