from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.schedulers.hostlist import expand
from tests.support.slurm import SlurmCluster, needs_slurm

HOSTLISTS = [
    "n1",
    "n[1-4]",
    "n[2-3],n7,login",
    "gpu[001-003,010],gpu[8-11]",
    "rack[1-2]n[01-02]",
]


def test_ranges_keep_their_zeros() -> None:
    assert expand("gpu[008-010],x") == ["gpu008", "gpu009", "gpu010", "x"]


def test_two_brackets_are_every_pair() -> None:
    assert expand("r[1-2]n[3,5]") == ["r1n3", "r1n5", "r2n3", "r2n5"]


def test_nothing_is_no_node() -> None:
    assert expand("") == []


@needs_slurm
@pytest.mark.slurm
@pytest.mark.parametrize("hostlist", HOSTLISTS)
def test_slurm_itself_spells_it_out_the_same(cluster: SlurmCluster, hostlist: str) -> None:
    assert expand(hostlist) == cluster.run("scontrol", "show", "hostnames", hostlist).split()


@pytest.mark.parametrize(
    ("hostlist", "problem"),
    [
        ("n[1-2", "a bracket is not closed"),
        ("n1]", "brackets do not match at character 3"),
        ("n[[1]]", "brackets do not match at character 3"),
        ("n[]", "not understood at character 2"),
        ("n[a-b]", "'a-b' in .* is neither a number nor a range"),
        ("n1,,n2", "a name is empty"),
        ("n[1-99999999999]", "more than 1000000 nodes"),
        ("n[1-2000][1-2000]", "names 4000000 nodes"),
    ],
)
def test_what_is_no_hostlist_is_named(hostlist: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        expand(hostlist)


@given(st.text(alphabet="n1-9,[]0.x"))
def test_any_text_is_a_hostlist_or_a_clear_no(text: str) -> None:
    try:
        assert all(expand(text))
    except ValueError as error:
        assert "hostlist" in str(error)
