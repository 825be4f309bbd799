"""How a rank of the worker tells the referee that it has failed, and whose failure it was."""

import contextlib
import json
import os
import traceback
from pathlib import Path
from time import monotonic
from typing import Any

from finishline.channel import Channel, ChannelClosed
from finishline.errors import InfrastructureError, SubmissionError

FAILURE_FILE = "failure_{rank}.json"


def tell(error: BaseException, channel: Channel | None, rank: int) -> None:
    """Prints ``error`` and tells the referee: by a frame, or without a channel by a file."""
    failure = {"time": monotonic(), **_describe(error)}
    traceback.print_exception(error)
    if channel is not None:
        with contextlib.suppress(ChannelClosed):
            channel.send("failed", **failure)
        return
    failure["message"] += f" (rank {rank})"
    path = Path(os.environ["FINISHLINE_EXCHANGE_DIR"]) / FAILURE_FILE.format(rank=rank)
    with contextlib.suppress(OSError):
        path.write_text(json.dumps(failure))


def _describe(error: BaseException) -> dict[str, Any]:
    from finishline.submission import has_own_frames, own_traceback

    if isinstance(error, SubmissionError):
        return {"blame": "submission", "message": str(error), "traceback": ""}
    if isinstance(error, InfrastructureError):
        return {"blame": "harness", "message": str(error), "traceback": ""}
    path = Path(os.environ["FINISHLINE_SUBMISSION"])
    message = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
    is_own = has_own_frames(error, path) or isinstance(error, SyntaxError)
    return {
        "blame": "submission" if is_own else "harness",
        "message": f"The submission raised {message}" if is_own else message,
        "traceback": own_traceback(error, path),
    }
