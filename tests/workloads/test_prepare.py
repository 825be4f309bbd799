import pytest

from workloads import prepare


def test_prepare_then_verify(tmp_path, capsys):
    arguments = ["quadratic_deep", "digits", "--data_dir", str(tmp_path)]
    assert prepare.main(arguments) == 0
    assert prepare.main([*arguments, "--verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert f"digits: 997 train examples in {tmp_path / 'digits' / 'train'}" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "no workload 'digit'; did you mean digits"),
        (["mnist"], "There is no train-images-idx3-ubyte in"),
        (["digits", "--verify"], "There is no data in"),
    ],
)
def test_errors_are_one_sentence(tmp_path, capsys, arguments, message):
    assert prepare.main([*arguments, "--data_dir", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""
    assert list(tmp_path.iterdir()) == []


def test_verify_finds_damage(tmp_path, capsys):
    arguments = ["digits", "--data_dir", str(tmp_path)]
    prepare.main(arguments)
    path = tmp_path / "digits" / "test" / "targets.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert prepare.main([*arguments, "--verify"]) == 2
    assert f"{path} has SHA-256" in capsys.readouterr().err
    assert prepare.main(arguments) == 0


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert prepare.main(["digits", "--data_dir", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_help_lists_the_workloads(capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert "mnist" in output
    assert "quadratic_deep" in output
