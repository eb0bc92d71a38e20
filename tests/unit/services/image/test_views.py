"""How things are shown."""

from objstore.services.image.records import ACTIVE, PUBLIC, Image
from objstore.services.image.views import image_view, refusal


def test_no_property_hides_what_the_service_says() -> None:
    view = image_view(Image("i", "p", ACTIVE, PUBLIC, 1_800_000_000_000_000, 1_800_000_000_999_999, properties={"status": "x", "a": "b"}))
    assert (view["status"], view["a"]) == (ACTIVE, "b")
    assert view["created_at"] == view["updated_at"] == "2027-01-15T08:00:00Z"


def test_a_refusal_has_its_code_in_words() -> None:
    assert refusal(404, "none") == {"message": "none", "code": "404 Not Found", "title": "Not Found"}
