"""The connection to the Docker engine, and the labels by which our objects are known.

Everything that is created here carries ``LABEL``, and only what carries it is ever removed.
"""

import os

import docker
import requests
from docker import errors

from finishline.errors import UserError

# The folder of the attempt that a container belongs to; see ``finishline.containers.rundir``.
LABEL = "org.finishline.run"
# The machine, its boot and the file system with that folder.
PLACE_LABEL = "org.finishline.place"
# Images made for one submission.
SUBMISSION_LABEL = "org.finishline.submission"

TIMEOUT = 120  # seconds for one call; removing a large container takes long on a busy disk
_DEFAULT_HOST = "unix:///var/run/docker.sock"

# What a call raises when the engine refuses, is gone, or does not answer.
ENGINE_ERRORS = (errors.DockerException, requests.exceptions.RequestException, OSError)


def connect() -> docker.DockerClient:
    """A client of the engine that DOCKER_HOST names, or of the usual one.

    Raises:
      UserError: no engine answers.
    """
    try:
        client = docker.from_env(timeout=TIMEOUT)
        client.ping()
    except ENGINE_ERRORS as error:
        host = os.environ.get("DOCKER_HOST", _DEFAULT_HOST)
        raise UserError(
            f"No Docker engine answers at {host} ({_first_line(error)}); start it, or name another "
            "in the environment variable DOCKER_HOST."
        ) from error
    return client


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
