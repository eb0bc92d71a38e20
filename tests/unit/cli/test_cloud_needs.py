"""Which programs a host of guests lacks, and what it can be without them."""

from objstore.cli.cloud_needs import ALWAYS, NETWORKS, look


def test_a_complete_host_makes_networks_of_its_own() -> None:
    host = look(found=lambda _: True, why_not=lambda: "")
    assert (host.missing, host.driver, host.why_no_networks) == ((), "netns", "")


def test_a_person_without_rights_gets_qemus_network_and_needs_less() -> None:
    host = look(found=lambda program: program.startswith(("qemu", "genisoimage")), why_not=lambda: "networks of their own need root")
    assert (host.missing, host.driver) == ((), "user")
    assert "root" in host.why_no_networks


def test_what_is_missing_is_named_with_its_packages() -> None:
    host = look(found=lambda _: False, why_not=lambda: "")
    assert {need.program for need in host.missing} == {need.program for need in (*ALWAYS, *NETWORKS)}
    assert "qemu-system-x86" in host.hint()
    assert "nft (nftables): " in host.explain()


def test_networks_that_were_asked_for_are_needed_and_others_are_not() -> None:
    lacks_dnsmasq = {"found": lambda program: program != "dnsmasq", "why_not": lambda: ""}
    assert [need.package for need in look("netns", **lacks_dnsmasq).missing] == ["dnsmasq-base"]
    assert look("user", **lacks_dnsmasq).missing == ()
    assert look("user", **lacks_dnsmasq).driver == "user"


def test_a_root_that_may_make_no_namespaces_is_like_a_person() -> None:
    host = look(found=lambda _: True, why_not=lambda: "this process may make no network namespaces")
    assert (host.driver, host.missing) == ("user", ())
    assert "namespaces" in host.why_no_networks


def test_what_this_process_may_do_is_tried() -> None:
    assert look(found=lambda _: True).driver in ("netns", "user")
