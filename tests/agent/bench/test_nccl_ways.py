"""What NCCL is told by the environment, and what GPUs are compared by."""

from __future__ import annotations

from agent.bench.nccl_ways import AUTO, LOOPBACK, RING, WAYS, environment_of

SITE = {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "NCCL_IB_HCA": "mlx5_0", "NCCL_SOCKET_IFNAME": "eth0"}


def test_what_the_site_says_of_its_network_is_kept() -> None:
    assert environment_of(AUTO, SITE).items() >= SITE.items()


def test_what_would_change_results_is_not() -> None:
    changing = {
        "NCCL_ALGO": "Tree",
        "NCCL_PROTO": "LL",
        "NCCL_NVLS_ENABLE": "0",
        "NCCL_COMM_ID": "10.0.0.1:5000",
        "NCCL_MAX_NCHANNELS": "1",
        "CUDA_VISIBLE_DEVICES": "0",
        "CUDA_LAUNCH_BLOCKING": "1",
    }

    assert not environment_of(AUTO, {**SITE, **changing}).keys() & changing.keys()


def test_each_way_is_led_by_what_it_says() -> None:
    for way in (RING, LOOPBACK):
        assert environment_of(way, {**SITE, "NCCL_NVLS_ENABLE": "2"}).items() >= way.environment.items()
    assert RING.environment == {"NCCL_NVLS_ENABLE": "0"}


def test_gpus_are_counted_by_their_addresses() -> None:
    assert environment_of(AUTO, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_a_way_has_metrics_of_its_own() -> None:
    assert {way.metric_of(8) for way in WAYS.values()} == {
        "node_all_reduce",
        "node_all_reduce_ring",
        "adapter_loopback",
    }
    assert AUTO.metric_of(4) == "small_node_all_reduce"
