"""Every target on its seeds and on a few hundred bent ones, in a few seconds: what `make fuzz` does for ten minutes."""

import random
from functools import partial
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import Outcome, allot, main, print_table
from tests.fuzz.target import GROWTH_BYTES, SHARES, Target, TooMuchError, bend, build_target, list_targets, watch

# The login target makes a handshake of each step.
EXAMPLES = {"login": 15}


@pytest.mark.parametrize("name", list_targets())
def test_nothing_is_found_nearby(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    request.addfinalizer(partial(structlog.configure, **structlog.get_config()))
    target = build_target(name)
    for seed in target.seeds:
        assert len(seed) <= target.largest_bytes, "the mutator would cut it"
        target.check(seed)

    @settings(max_examples=EXAMPLES.get(name, 100), database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(target.seeds) | st.binary(max_size=200), st.randoms(use_true_random=False))
    def play(seed: bytes, chance: random.Random) -> None:
        target.check(bend(seed, chance))

    play()


def test_an_input_that_takes_too_long_or_too_much_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, peak = iter([0.0, 2.5]), iter([0, 0])
    monkeypatch.setattr("tests.fuzz.target.time.process_time", lambda: next(clock))
    monkeypatch.setattr("tests.fuzz.target._peak_bytes", lambda: next(peak))
    with pytest.raises(TooMuchError, match=r"2\.5 s of CPU"):
        watch(Target(len, [b""]))(b"x")
    clock, peak = iter([0.0, 0.1]), iter([0, GROWTH_BYTES + 1])
    with pytest.raises(TooMuchError, match="64 MiB"):
        watch(Target(len, [b""]))(b"x")


@pytest.mark.parametrize("jobs", [1, 2, 4, 16])
def test_who_is_slow_has_more_of_the_time(jobs: int) -> None:
    names = list_targets()
    allotted = allot(names, 60, jobs)
    assert sorted(allotted) == names and SHARES.keys() <= set(names)
    assert allotted["login"] >= 8
    assert sum(allotted.values()) <= 60 * jobs + 0.1
    assert max(allotted.values()) <= 60, "however many there are side by side"
    assert next(iter(allotted)) == "login", "begun last it would end last, alone"
    assert len({round(seconds, 6) for name, seconds in allotted.items() if name not in SHARES}) == 1


def test_one_target_has_all_the_time() -> None:
    assert allot(["login"], 600, 1) == {"login": 600}
    assert allot(["facts", "facts"], 1, 1) == {"facts": 3}


def test_what_was_found_is_named_with_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        [Outcome("facts", 10, 5, 3, 2), Outcome("login", 1, 1, 1, 1, "ValueError: x", ".fuzz/found/login/crash-1")]
    )
    said = capsys.readouterr().out
    assert "-m tests.fuzz.reproduce login .fuzz/found/login/crash-1" in said
    assert "ValueError: x" in said and said.count("FAILED") == 1


def test_a_target_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--seconds", "1", "nothing"])
    assert "there are agent, certificates" in capsys.readouterr().err
