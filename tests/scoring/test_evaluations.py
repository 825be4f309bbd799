import math

import numpy as np
import pytest

from scoring.evaluations import Evaluations, LogError, parse_table


def parse(text, metric="wer"):
    return Evaluations.from_table(parse_table(text.encode(), metric))


def test_columns_are_found_by_name():
    log = parse(
        "x,validation/wer,accumulated_submission_time\n1,0.5,10\n\n2,,20\n3,nan,30\n4,-inf,40\n"
    )
    assert log.time.tolist() == [10, 20, 30, 40]
    assert log.value[0] == 0.5
    assert np.isnan(log.value[1:3]).all()
    assert log.value[3] == -math.inf
    assert np.isnan(log.step).all()


GOOD = "accumulated_submission_time,validation/wer\n"
FULL = (
    "accumulated_eval_time,accumulated_logging_time,accumulated_submission_time,global_step,"
    "preemption_count,score,total_duration,validation/wer\n"
)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_the_plain_way_and_the_thorough_one_agree(end):
    text = f"{FULL}1.5,0.5,2.25,3,0,2.5,5,0.9{end or chr(10)}2.5,0.5,3.25,4,1,3.5,7,1e-1{end}"
    log = parse(text)
    assert [one.tolist() for one in (log.time, log.value, log.step, log.total)] == [
        [2.25, 3.25],
        [0.9, 0.1],
        [3, 4],
        [5, 7],
    ]
    assert [one.tolist() for one in (log.eval_time, log.logging_time, log.resumes, log.score)] == [
        [1.5, 2.5],
        [0.5, 0.5],
        [0, 1],
        [2.5, 3.5],
    ]
    quoted = parse(text.replace("0.9", '"0.9"'))
    assert quoted.value.tolist() == log.value.tolist()


def test_rows_of_other_lengths_that_add_up_are_no_rows():
    with pytest.raises(LogError, match="9 cells in row 1"):
        parse(FULL + "1,1,1,1,1,1,1,1,1\n1,1,1,1,1,1,1\n")


def test_no_row_is_no_evaluation():
    assert len(parse(GOOD)) == 0
    assert len(parse(GOOD.strip())) == 0


def test_cells_that_are_not_needed_may_be_anything():
    log = parse(FULL + "x,,1,many,0,1,1_0,0.5\n")
    assert log.time.tolist() == [1.0]
    assert np.isnan([log.eval_time[0], log.logging_time[0], log.step[0], log.total[0]]).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("accumulated_submission_time,validation/loss\n1,2\n", "0 columns 'validation/wer'"),
        ("score,validation/wer\n1,2\n", "0 columns 'accumulated_submission_time'"),
        ("validation/wer," + GOOD + "1,2,3\n", "2 columns 'validation/wer'"),
        (GOOD.replace(",", ";") + "1;2\n", "0 columns"),
        (GOOD + "1,2\n3", "1 cells in row 2"),
        (GOOD + "1,2,3\n", "3 cells in row 1"),
        (GOOD + "1,good\n", "no number in row 1"),
        (GOOD + "1_0,0.1\n", "no number in row 1"),
        (GOOD + ",0.1\n", "no number in row 1"),
        (GOOD + "nan,0.1\n", "in row 1"),
        (GOOD + "inf,0.1\n", "in row 1"),
        (GOOD + "-1,0.1\n", "in row 1"),
        (GOOD + "2,0.1\n1,0.1\n", "from 2.0 s to 1.0 s in row 2"),
        (FULL + "1,1,2,1,1,1,1,1\n1,1,1,1,1,1,1,1\n", "from 2.0 s to 1.0 s in row 2"),
        (GOOD + "\0\0,\0\n", "row 1"),
        (GOOD + "1," + "9" * 10_000_000 + "x\n", "cannot be read"),
        (GOOD + "a" * 100_000 + ",1\n", "no number"),
        (GOOD + '"1,2\n' * 3, "cells in row 1|no number"),
    ],
)
def test_a_damaged_log_is_an_error_with_a_short_reason(text, reason):
    with pytest.raises(LogError, match=reason) as error:
        parse(text)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_an_error():
    with pytest.raises(LogError, match="cannot be read"):
        parse_table(b"\xff\xfe\x80" * 100, "wer")
