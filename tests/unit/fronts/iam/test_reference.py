"""The reference page names every call there is, and no other."""

import re
from pathlib import Path

import botocore.session

from objstore.fronts.iam import app, sts

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "reference" / "iam.md").read_text()
ROWS = [cells[1:-1] for line in PAGE.split("## Errors")[0].splitlines() if len(cells := line.split("|")) > 3]
WORDS = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}[A-Za-z]*", " ".join(" ".join(cells) for cells in ROWS)))
KINDS = ("User", "Group", "Role")
FAMILIES = {
    *(f"{verb}{kind}Policy" for verb in ("Put", "Get", "Delete", "Attach", "Detach") for kind in KINDS),
    *(f"List{kind}Policies" for kind in KINDS),
    *(f"ListAttached{kind}Policies" for kind in KINDS),
}


def test_every_call_is_on_the_page() -> None:
    assert not {*app.ACTIONS, *sts.ACTIONS} - WORDS - FAMILIES
    assert set(app.ACTIONS) >= FAMILIES


def test_every_call_on_the_page_is_there_under_amazons_name() -> None:
    session = botocore.session.get_session()
    known = {*session.get_service_model("iam").operation_names, *session.get_service_model("sts").operation_names}
    assert {*app.ACTIONS, *sts.ACTIONS} <= known
    assert not (WORDS & known) - {*app.ACTIONS, *sts.ACTIONS}
