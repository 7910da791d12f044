"""The readers under all policies: what is not exactly right is refused at its place."""

from typing import Any

import pytest

from evertunnel.access.documents import PolicyError, read_object, read_text, read_texts, refuse_unknown
from evertunnel.errors import InvalidInputError


@pytest.mark.parametrize("value", [None, [], "x", 1, True, 1.5])
def test_what_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(PolicyError, match=r"^\$\.a: must be an object$"):
        read_object(value, "$.a")


@pytest.mark.parametrize("value", [None, "", [], {}, 0, True, b"x"])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(PolicyError, match=r"^\$\.a: must be a text that is not empty$"):
        read_text(value, "$.a")


def test_a_text_outside_the_choices_is_named_with_them() -> None:
    with pytest.raises(PolicyError, match="'on' is not one of yes, no"):
        read_text("on", "$", choices=("yes", "no"))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_a_character_is_refused_before_it_meets_the_database(text: str) -> None:
    with pytest.raises(PolicyError, match="surrogate"):
        read_text(text, "$")


def test_a_list_names_the_element_that_is_wrong() -> None:
    with pytest.raises(PolicyError) as caught:
        read_texts(["a", None], "$.users")
    assert caught.value.path == "$.users[1]"


@pytest.mark.parametrize("value", ["a", {}, 1, False, ("a",)])
def test_what_is_no_list_is_refused(value: Any) -> None:
    with pytest.raises(PolicyError, match="must be a list"):
        read_texts(value, "$")


def test_null_is_an_empty_list() -> None:
    assert read_texts(None, "$") == ()


def test_an_unknown_key_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(PolicyError, match=r"^\$\.x\.c: is not known here; known are a, b$"):
        refuse_unknown({"a": 1, "c": None}, "$.x", ("a", "b"))


def test_a_problem_is_bad_input_with_path_and_problem_apart() -> None:
    error = PolicyError("$.a", "is wrong")
    assert isinstance(error, InvalidInputError)
    assert (error.path, error.problem, str(error)) == ("$.a", "is wrong", "$.a: is wrong")


def test_a_key_as_long_as_a_file_makes_no_error_as_long() -> None:
    document = {"x" * 100_000: True}
    with pytest.raises(PolicyError) as refused:
        refuse_unknown(document, "$", ("known",))
    assert refused.value.path == f"$.{'x' * 80}..."
