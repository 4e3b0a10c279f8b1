from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.names import digest, folder_name, job_name

ANY = st.text(max_size=200)


@given(ANY, ANY)
def test_job_names(label: str, key: str) -> None:
    name = job_name(label, key)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,47}-[0-9a-f]{12}", name)
    assert len(name) <= 60
    assert not name.startswith(("-", "."))


@given(ANY, ANY, ANY)
def test_job_names_differ_by_their_keys(label: str, one: str, two: str) -> None:
    assert (job_name(label, one) == job_name(label, two)) == (one == two)


@pytest.mark.parametrize(
    ("label", "begins"),
    [("train", "train-"), ("a/b[c]", "a_b_c-"), ("--x", "x-"), ("日本", "run-"), ("", "run-"), ("x" * 99, "x" * 47)],
)
def test_job_names_begin_with_what_the_user_knows(label: str, begins: str) -> None:
    assert job_name(label, "key").startswith(begins)


@given(ANY)
def test_folder_names(text: str) -> None:
    name = folder_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|x?[A-Za-z0-9_.-]*-[0-9a-f]{8}", name)
    assert 0 < len(name) <= 80
    assert name not in (".", "..")
    assert not name.startswith((".", "-"))


@given(st.lists(ANY, min_size=2, max_size=2, unique=True))
def test_two_texts_never_share_a_folder(texts: list[str]) -> None:
    assert folder_name(texts[0]) != folder_name(texts[1])


@pytest.mark.parametrize(
    ("one", "two"),
    [("a/b", "a_b"), ("a b", "a_b"), (".a", "a"), ("a" * 81, "a" * 82), ("é", "è"), ("", "x"), ("-", "")],
)
def test_texts_that_resemble_each_other(one: str, two: str) -> None:
    assert folder_name(one) != folder_name(two)


def test_a_text_that_is_another_texts_folder() -> None:
    assert folder_name(folder_name("a/b")) != folder_name("a/b")


def test_ordinary_names_stay_as_they_are() -> None:
    assert folder_name("train_model.0") == "train_model.0"


@given(st.lists(ANY, max_size=4), st.lists(ANY, max_size=4))
def test_digests_know_where_a_part_ends(one: list[str], two: list[str]) -> None:
    assert (digest(*one) == digest(*two)) == (one == two)


def test_a_digest_of_bytes_that_are_no_text() -> None:
    assert digest("a\udcff") != digest("a")
