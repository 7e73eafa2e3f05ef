"""The follow graph's layout."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from copytrader_cli.report.collect import Edge
from copytrader_cli.report.graph import MAX_EDGES, follow_graph, layout


def follows(follower: str, leader: str, share: float = 0.5) -> Edge:
    return Edge(leader, follower, leader, follower, share, share, 0.1, 900, 2_000, 12, 24, 0.01)


def test_followers_stand_right_of_whom_they_follow_and_leaders_between_their_followers() -> None:
    places = layout([follows("b", "a"), follows("c", "a"), follows("d", "c"), follows("y", "x")])
    assert {wallet: place.column for wallet, place in places.items()} == {
        "a": 0,
        "b": 1,
        "c": 1,
        "d": 2,
        "x": 0,
        "y": 1,
    }
    assert places["a"].row == (places["b"].row + places["c"].row) / 2


def test_two_who_follow_each_other_are_both_drawn() -> None:
    edges = [follows("b", "a", 0.9), follows("a", "b", 0.3)]
    assert set(layout(edges)) == {"a", "b"}
    assert follow_graph(edges, 640).count('class="tip"') == 2


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")).filter(lambda p: p[0] != p[1]), unique=True
    )
)
def test_everybody_has_a_place_of_his_own(pairs: list[tuple[str, str]]) -> None:
    places = layout([follows(follower, leader) for follower, leader in pairs])
    assert set(places) == {wallet for pair in pairs for wallet in pair}
    assert len({(place.column, place.row) for place in places.values()}) == len(places)


def test_only_the_strongest_edges_of_a_large_network_are_drawn() -> None:
    edges = [follows(f"f{n}", f"l{n % 7}") for n in range(MAX_EDGES + 20)]
    assert follow_graph(edges, 640).count('class="tip"') == MAX_EDGES


def test_a_name_cannot_break_out_of_the_picture() -> None:
    assert "<script>" not in follow_graph([follows("<script>alert(1)</script>", '"><script>')], 640)
