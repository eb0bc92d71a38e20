"""Settings of the identity service."""

from objstore.cli.settings import component, load_settings
from objstore.fronts.identity.settings import IdentitySettings


def test_they_are_a_section_of_the_configuration() -> None:
    settings = load_settings(("identity",), environment={}, overrides=["identity.token_s=60"]).settings
    assert component(settings, "identity") == IdentitySettings(token_s=60.0)
