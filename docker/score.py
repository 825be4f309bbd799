"""Scores submissions in containers: builds the images, runs the trials, prints the leaderboard.

The referee runs here, each worker in a container of its own. The flags are those of competition.py,
which does the same with --executor=docker; docker/README.md says what the machine must have.

Example:
  python docker/score.py --submissions=submissions/ --workloads=digits,quadratic_deep
"""

import sys
from pathlib import Path

from absl import flags

# Instead of the folder of this file, which has the name of the Docker SDK's package.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import competition  # noqa: E402
from finishline import commandline  # noqa: E402

flags.adopt_module_key_flags(competition)
flags.FLAGS.set_default("executor", "docker")

if __name__ == "__main__":
    commandline.run(competition.main)
