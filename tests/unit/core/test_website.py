"""Which object answers a path of a website, and where it is sent."""

from objstore.core.website import Redirect, RoutingRule, WebsiteConfig, decode, encode, index_key, redirect_after, redirect_before


def test_folders_are_answered_by_their_index() -> None:
    config = WebsiteConfig(1, "index.html")
    assert decode(encode(config)) == config
    assert [index_key(config, key) for key in ("", "a/", "a", "a/b.html")] == ["index.html", "a/index.html", "a", "a/b.html"]
    assert redirect_before(config, "a") is None
    assert redirect_after(config, "a", 404) is None


def test_everything_can_be_sent_elsewhere() -> None:
    config = WebsiteConfig(1, redirect_host="other.example", redirect_protocol="https")
    assert redirect_before(config, "a/b") == Redirect("a/b", 301, "https", "other.example")


def test_rules_apply_in_their_order_before_or_after_the_look() -> None:
    config = WebsiteConfig(
        1,
        "index.html",
        rules=(
            RoutingRule(key_prefix="docs/", replace_prefix="documents/"),
            RoutingRule(key_prefix="docs/x", replace_key="never"),
            RoutingRule(key_prefix="gone/", error_code=404, replace_key="sorry.html", redirect_code=302),
            RoutingRule(error_code=403, host="login.example", protocol="https"),
        ),
    )
    assert redirect_before(config, "docs/x") == Redirect("documents/x")
    assert redirect_before(config, "gone/x") is None
    assert redirect_after(config, "gone/x", 404) == Redirect("sorry.html", 302)
    assert redirect_after(config, "x", 404) is None
    assert redirect_after(config, "x", 403) == Redirect("x", 301, "https", "login.example")
