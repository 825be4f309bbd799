"""``python -m workloads.prepare``: what it makes, what it says, and how it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from finishline.data.prepared import ArrayDataset
from finishline.workload import all_datasets, all_workloads, check_data, find_workload
from workloads import prepare
from workloads.cifar import sample


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
        (["digit"], "no data set or workload 'digit'; did you mean digits"),
        (["digits", "mnist", "--source", "/"], "--source=/ has the originals of one data set"),
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


def test_a_part_of_a_data_set_is_told(tmp_path, capsys):
    """When it is prepared, and again before training."""
    sample.write_originals(tmp_path)
    assert prepare.main(["cifar", "--data_dir", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert "cifar10/train has 180 examples; the whole data set has 45,000.\n" in told
    check_data(find_workload("cifar"), tmp_path)
    assert capsys.readouterr().err == "".join(
        line for line in told.splitlines(keepends=True) if "the whole data set" in line
    )


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("digits", "sklearn"),
        ("fastmri_mini", "h5py"),
        ("imagenet_mini", "PIL"),
        ("librispeech_mini", "soundfile"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, name, module):
    """In a process of its own, in which nothing has been imported before."""
    script = f"import sys; sys.modules[{module!r}] = None\nfrom workloads import prepare\n"
    script += f"sys.exit(prepare.main([{name!r}, '--data_dir', {str(tmp_path)!r}]))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 2
    told = ended.stderr.splitlines()[-1]
    assert f"The data set {name} needs the package '{module}" in told
    assert f"-e '.[{name.removesuffix('_mini')}]'" in told


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert prepare.main(["digits", "--data_dir", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_data_set_is_named_by_itself_or_by_who_reads_it():
    workloads = list(all_workloads())
    assert {one.name for one in prepare.find_datasets(workloads)} == set(all_datasets())
    assert [one.name for one in prepare.find_datasets(["cifar", "cifar10"])] == ["cifar10"]


def test_originals_lie_where_source_says(tmp_path, capsys):
    arguments = ["mnist", "--data_dir", str(tmp_path), "--source", str(tmp_path / "elsewhere")]
    assert prepare.main(arguments) == 2
    assert f"in {tmp_path / 'elsewhere'}" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ArrayDataset, "prepare", interrupt)
    assert prepare.main(["digits", "--data_dir", str(tmp_path), "--num_workers", "1"]) == 130
    command = f"python -m workloads.prepare digits --data_dir {tmp_path} --num_workers 1"
    assert command in capsys.readouterr().err


@pytest.mark.slow
def test_an_interruption_of_all_processes_is_told_once_and_loses_nothing(tmp_path):
    command = [sys.executable, "-m", "workloads.prepare", "criteo1tb_mini", "--num_workers=2"]
    command += ["--data_dir", str(tmp_path)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not any(tmp_path.glob("*/.train.partial/*")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.count("prepare: interrupted") == 1
    assert "Traceback" not in told
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run([*command, "--verify"], check=True, capture_output=True)


def test_help_lists_the_data_sets(capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--help"])
    assert caught.value.code == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    listed = {row[0]: row[1:] for row in rows[-len(all_datasets()) :]}
    assert set(listed) == set(all_datasets())
    assert listed["quadratic_deep"] == ["1.24", "MB", "generated"]


@pytest.mark.parametrize("name", all_datasets())
def test_every_data_set_says_where_it_comes_from_and_how_large_it_is(name):
    dataset = all_datasets()[name]
    assert dataset.origin
    assert "\n" not in dataset.origin
    assert dataset.disk_bytes > 0


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_a_number_of_workers_is_positive(count, capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(["digits", f"--num_workers={count}"])
    assert caught.value.code == 2
    assert "not a positive number" in capsys.readouterr().err
