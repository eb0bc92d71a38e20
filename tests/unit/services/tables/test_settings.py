"""Settings of the database."""

from objstore.services.tables.settings import DatabaseSettings


def test_without_a_word_there_is_a_database_of_ones_own() -> None:
    assert DatabaseSettings().url == ""
