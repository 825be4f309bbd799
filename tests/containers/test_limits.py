"""Sizes, sets of processors and limits as people write them."""

import re

import pytest

from finishline.containers.limits import Limits, format_size, parse_cpus, parse_size
from finishline.errors import UserError


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("2k", 2048), ("512m", 2**29), ("1.5g", 3 * 2**29), ("8 GiB", 2**33)],
)
def test_sizes(text, size):
    assert parse_size(text, "--docker_memory") == size


@pytest.mark.parametrize("text", ["", "much", "-1g", "0", "1e3", "8gg", "0.1"])
def test_what_is_no_size_is_told_in_a_sentence(text):
    with pytest.raises(UserError, match=rf"^--docker_memory={re.escape(text)} is no size; write"):
        parse_size(text, "--docker_memory")


def test_processors():
    assert parse_cpus("0-3,8") == [0, 1, 2, 3, 8]
    for text in ("", "3-0", "a", "0,0", "0-2,1", "1-"):
        with pytest.raises(UserError, match="is no set of processors"):
            parse_cpus(text)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"memory": "10m"}, "--docker_memory"),
        ({"pids": 3}, "--docker_pids=3"),
        ({"cpus": "x"}, "x"),
    ],
)
def test_limits_with_which_nothing_can_run_are_refused(flags, words):
    with pytest.raises(UserError, match=words):
        Limits.parse(**flags)


def test_what_is_not_given_keeps_its_default():
    assert Limits.parse() == Limits()
    assert Limits.parse(gpus=[]).gpus == ()
    assert Limits.parse(memory="1g", cpus="0") == Limits(memory_bytes=2**30, cpus="0")


def test_sizes_for_people():
    assert format_size(2**29) == "512 MiB"
    assert format_size(3 * 2**29) == "1.5 GiB"
