"""Builds the image of the workers, or finds it, and prints its id.

With --context, writes what it is built from into a folder instead, and needs no Docker engine: for
`apptainer build worker.sif finishline.def` there, or for a build on another machine.

Examples:
  python -m finishline.containers.build_image --framework=both
  python -m finishline.containers.build_image --framework=jax --device=gpu --context=worker
"""

import functools
import sys
from pathlib import Path

from absl import flags

from finishline import commandline
from finishline.containers import apptainer
from finishline.containers.engine import connect
from finishline.containers.image import (
    DEFAULT_BASE,
    DOCKERFILE,
    WorkerImage,
    context_files,
    get_image,
)
from finishline.containers.lock import DEVICES, Platform, load_lock
from finishline.frameworks import FRAMEWORKS

flags.DEFINE_enum("framework", "both", [*FRAMEWORKS, "both"], "Frameworks in the image.")
flags.DEFINE_enum("device", "cpu", DEVICES, "What it computes on.")
flags.DEFINE_string("base", DEFAULT_BASE, "Image with Python to build it from.")
flags.DEFINE_string("tag", None, "A name for the image beside its own, such as worker:1.0.")
flags.DEFINE_string("context", None, "Folder to write the build context to instead.")
flags.DEFINE_string(
    "platform", "3.11 x86_64 2.36", "With --context: versions of Python, machine, and glibc."
)

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Builds what the flags describe; returns the exit code."""
    del argv
    tell = functools.partial(print, file=sys.stderr, flush=True)
    frameworks = FRAMEWORKS if FLAGS.framework == "both" else (FLAGS.framework,)
    wanted = WorkerImage(frameworks, FLAGS.base, FLAGS.device)
    if FLAGS.context:
        _write_context(wanted, Platform.parse(FLAGS.platform), Path(FLAGS.context))
        return 0
    image = get_image(connect(), wanted, tell)
    if FLAGS.tag:
        image.tag(FLAGS.tag)
    print(image.id)
    return 0


def _write_context(wanted: WorkerImage, platform: Platform, folder: Path) -> None:
    lock = load_lock(wanted.frameworks, wanted.device, platform.python)
    tell = functools.partial(print, file=sys.stderr, flush=True)
    files = context_files(wanted, lock, platform, tell)
    for name, content in {**files, "Dockerfile": DOCKERFILE}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (folder / apptainer.DEFINITION.name).write_bytes(apptainer.DEFINITION.read_bytes())
    print(folder)


if __name__ == "__main__":
    commandline.run(main)
