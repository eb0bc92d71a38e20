"""Settings that are safe when nobody says anything."""

from objstore.services.image.settings import ImageSettings


def test_by_default_formats_are_compared_and_nothing_is_fetched() -> None:
    settings = ImageSettings()
    assert settings.enforce_format
    assert settings.web_download_hosts == settings.web_download_private == ()
    assert settings.quota_images > 0
    assert settings.quota_bytes > 0
