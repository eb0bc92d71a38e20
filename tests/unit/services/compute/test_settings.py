"""Settings that are safe when nobody says anything."""

from objstore.services.compute.settings import ComputeSettings


def test_by_default_memory_is_not_promised_twice_and_projects_have_quotas() -> None:
    settings = ComputeSettings()
    assert settings.memory_ratio == 1.0
    assert min(settings.quota_instances, settings.quota_cores, settings.quota_ram_mb) > 0
