"""What a host says of itself."""

from objstore.services.compute.agent import facts


def test_the_machine_is_looked_at() -> None:
    assert len(facts.boot_id()) == 36
    assert facts.memory_mb() > 64
    assert facts.vcpus() >= 1
    assert facts.firmware() in ("", *facts.FIRMWARES)


def test_the_processors_name_is_found_where_there_is_one() -> None:
    assert facts.cpu_model("processor\t: 0\nmodel name\t: A Processor: 3 GHz\n") == "A Processor: 3 GHz"
    assert facts.cpu_model("") != ""


def test_traits_name_accelerator_and_networks() -> None:
    assert {"CUSTOM_ACCELERATOR_TCG", "CUSTOM_NETWORK_NETNS"} <= set(facts.traits("tcg", "netns"))
