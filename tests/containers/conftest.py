"""What the tests of images share."""

import pytest


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
