"""What the tests of images share."""

import shutil
from pathlib import Path

import pytest

SGD = Path(__file__).resolve().parents[2] / "reference_submissions" / "sgd"


@pytest.fixture
def run_in(engine):
    """A function that runs a shell script in a container as hardened ones are; its output."""

    def run(image: str, script: str, **options) -> str:
        hardened = {
            "entrypoint": "",
            "network_mode": "none",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "tmpfs": {"/tmp": ""},
            "remove": True,
            "labels": {"org.finishline.run": "test"},
        }
        output = engine.containers.run(image, ["sh", "-ec", script], **hardened, **options)
        return output.decode()

    return run


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder that is all that pip knows of packages, and a cache of its own for locked ones."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"FIND_LINKS": folder, "NO_INDEX": "1", "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def submission(tmp_path):
    """A function that makes a folder with a submission and the lines of its requirements."""

    def make(*requirements: str, source: str = "", name: str = "mine") -> Path:
        folder = tmp_path / name
        shutil.copytree(SGD, folder)
        shutil.rmtree(folder / "jax")
        if requirements:
            (folder / "requirements.txt").write_text("\n".join(requirements))
        file = folder / "pytorch" / "submission.py"
        file.write_text(file.read_text() + source)
        return folder

    return make
