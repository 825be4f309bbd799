"""The Apptainer definition is the Dockerfile in other words."""

import pytest

from finishline.containers.apptainer import DEFINITION, DOCKERFILE, definition


def test_definition_is_current():
    assert DEFINITION.read_text() == definition(DOCKERFILE.read_text()), "run `make apptainer`"


def test_stages_files_and_arguments():
    text = definition(
        "# a comment\nARG BASE=a\nFROM ${BASE} AS first\nARG X=1\nCOPY in /out\n"
        "RUN one ${X} ${y} \\\n    && two\nFROM ${BASE}\nCOPY --from=first /out /out\n"
        'USER 1:1\nENV A=1 B=2\nLABEL n="v w"\n'
    )
    assert "From: {{ BASE }}\nStage: first\n" in text
    assert "%files\n    in /out\n" in text
    assert "%post\n    one {{ X }} ${y} && two\n" in text
    assert "Stage: final" in text
    assert "%files from first\n    /out /out\n" in text
    assert "%environment\n    export A=1\n    export B=2\n" in text
    assert "%labels\n    n v w\n" in text


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="ONBUILD"):
        definition("FROM a\nONBUILD RUN b")
