import msgspec

from objstore.services.network.wanted import WantedHost, WantedNetwork, WantedPort, WantedRule, WantedSubnet


def test_what_is_wanted_of_a_host_travels_as_json() -> None:
    rule = WantedRule("ingress", 4, "tcp", 22, 22, ("10.0.0.0/8",))
    wanted = WantedHost(
        7,
        (WantedNetwork("n", 1, 1450, subnets=(WantedSubnet("s", "10.0.0.0/24", 4, "10.0.0.1"),)),),
        (WantedPort("p", "n", "fa:16:3e:00:00:01", "host1", "server", (("s", "10.0.0.5"),), rules=(rule,)),),
        peers=(("host2", "192.0.2.2"),),
    )
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=WantedHost) == wanted


def test_a_port_is_secured_unless_it_says_otherwise() -> None:
    assert WantedPort("p", "n", "fa:16:3e:00:00:01", "", "").secured
