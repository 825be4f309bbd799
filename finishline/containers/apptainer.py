"""``docker/finishline.def``, for clusters with Apptainer, made from ``docker/Dockerfile``.

``python -m finishline.containers.apptainer`` writes it anew. Users, working directory, health check
and start command are left out: Apptainer runs what it is told, as whoever calls it.
"""

import dataclasses
import re
from collections.abc import Iterator

from finishline.containers.lock import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
DEFINITION = ROOT / "docker" / "finishline.def"
_HEADER = "# Made from the Dockerfile by `make apptainer`. Build it in a folder that\n"
_HEADER += "# `python -m finishline.containers.build_image --context=FOLDER` has written.\n"
_LEFT_OUT = frozenset({"USER", "WORKDIR", "HEALTHCHECK", "ENTRYPOINT", "CMD"})


@dataclasses.dataclass
class _Stage:
    """One stage of a build; the fields are the sections of a definition."""

    base: str
    name: str
    arguments: dict[str, str]
    files: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    post: list[str] = dataclasses.field(default_factory=list)
    environment: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)

    def format(self) -> str:
        """The stage in Apptainer's words."""
        files = [(f"files{origin}", lines) for origin, lines in self.files.items()]
        arguments = [f"{name}={value}" for name, value in self.arguments.items()]
        sections = [("arguments", arguments), *files, ("post", self.post)]
        sections += [("environment", self.environment), ("labels", self.labels)]
        text = f"Bootstrap: docker\nFrom: {self.base}\nStage: {self.name}\n"
        for name, lines in sections:
            if lines:
                text += f"\n%{name}\n" + "".join(f"    {line}\n" for line in lines)
        return text


def definition(dockerfile: str) -> str:
    """The Apptainer definition that does what ``dockerfile`` does.

    Raises:
      ValueError: it has an instruction that is not known here.
    """
    common: dict[str, str] = {}
    stages: list[_Stage] = []
    for instruction, rest in _instructions(dockerfile):
        if instruction == "ARG":
            name, _, value = rest.partition("=")
            (stages[-1].arguments if stages else common)[name] = value
        elif instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(_Stage(base, name or "final", dict(common)))
        elif instruction not in _LEFT_OUT:
            _add(stages[-1], instruction, rest)
    texts = [_templated(stage.format(), stage.arguments) for stage in stages]
    return _HEADER + "\n" + "\n\n".join(texts)


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            instruction, _, rest = line.partition(" ")
            yield instruction, rest


def _add(stage: _Stage, instruction: str, rest: str) -> None:
    if instruction == "COPY":
        origin, source, target = re.fullmatch(r"(?:--from=(\S+) )?(\S+) (\S+)", rest).groups()  # type: ignore[union-attr]
        stage.files.setdefault(f" from {origin}" if origin else "", []).append(f"{source} {target}")
    elif instruction == "RUN":
        stage.post.append(rest)
    elif instruction == "ENV":
        stage.environment += [f"export {pair}" for pair in rest.split()]
    elif instruction == "LABEL":
        stage.labels += [f"{name} {value}" for name, value in re.findall(r'(\S+?)="(.*?)"', rest)]
    else:
        raise ValueError(f"The Dockerfile has {instruction}, which is not known to Apptainer.")


def _templated(text: str, arguments: dict[str, str]) -> str:
    """``${NAME}`` of build arguments as Apptainer writes it; other variables are the shell's."""
    for name in arguments:
        text = text.replace(f"${{{name}}}", f"{{{{ {name} }}}}")
    return text


if __name__ == "__main__":
    DEFINITION.write_text(definition(DOCKERFILE.read_text()))
