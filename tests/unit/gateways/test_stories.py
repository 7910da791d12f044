"""Stories of IKE_SAs: real times since the first line, and bounds on what a flood can make us keep."""

from evertunnel.gateways.stories import Stories, build_steps, measure


def say(stories: Stories, uptime: float, text: str, *, number: int = 1, group: str = "CFG") -> None:
    stories.keep_line(uptime, {"group": group, "ikesa-uniqueid": str(number), "msg": text})


def test_steps_count_from_the_first_line_and_keep_their_order() -> None:
    stories = Stories()
    say(stories, 100.0, "first")
    say(stories, 100.0125, " requesting ocsp status from 'http://127.0.0.1:8118/secret' ...")
    say(stories, 100.0201, "packet", group="NET")
    say(stories, 100.031, "last")
    lines = stories.get(1)
    assert [(step.at_ms, step.text) for step in build_steps(lines)] == [
        (0.0, "first"),
        (12.5, "requesting ocsp status from the gate ..."),
        (31.0, "last"),
    ]
    assert measure(lines, 100.04) == 40.0
    assert measure((), 100.04) == 0.0


def test_a_flood_of_lines_and_of_tunnels_is_bounded() -> None:
    stories = Stories()
    for _ in range(1000):
        say(stories, 1.0, "again")
    assert len(stories.get(1)) == 60
    for number in range(2, 3000):
        say(stories, 1.0, "another", number=number)
    assert not stories.get(1)
    assert stories.get(2999)
