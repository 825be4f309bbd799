"""What a person sees while a trial runs: a live panel on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from finishline.clock import Account, Ledger
from finishline.trial import Outcome, TrialConfig

_REFRESH_PERIOD = 0.5
_LINE_PERIOD = 5.0


@runtime_checkable
class Display(Protocol):
    """Shows one trial. None of its methods may take long: the clock may be running."""

    def start(self, config: TrialConfig, ledger: Ledger) -> None:
        """The trial is being set up."""

    def step(self, step: int) -> None:
        """So many steps are done."""

    def data_wait(self, seconds: float) -> None:
        """The worker says that its training loop has waited so long for data."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """The submission has logged ``values``."""

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """A snapshot has been measured."""

    def tick(self) -> None:
        """Called a few times a second."""

    def message(self, text: str) -> None:
        """Something that a person should know."""

    def end(self, outcome: Outcome) -> None:
        """The trial is over."""


class PlainDisplay:
    """Lines of text, for logs and pipes."""

    def __init__(self) -> None:
        self._label = ""
        self._metric = ""
        self._next_line = 0.0
        self._step = 0
        self._data_wait = 0.0
        self._config: TrialConfig
        self._ledger: Ledger

    def start(self, config: TrialConfig, ledger: Ledger) -> None:
        """See ``Display``."""
        self._config, self._ledger = config, ledger
        self._label = label(config)
        self._next_line = time.monotonic() + _LINE_PERIOD
        target = config.workload.target
        sign = "<=" if target.minimize else ">="
        _print(
            f"{self._label}: target validation/{target.metric} {sign} {target.validation:g}, "
            f"budget {config.budget_sec:g} s"
        )

    def step(self, step: int) -> None:
        """See ``Display``."""
        self._step = step

    def data_wait(self, seconds: float) -> None:
        """See ``Display``."""
        self._data_wait = seconds

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """See ``Display``; lines tell of evaluations only."""

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """See ``Display``."""
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + _LINE_PERIOD
            text = progress_text(self._config, self._ledger, step, metrics)
            _print(f"{self._label}: {text}  {data_wait_text(self._ledger, self._data_wait)}")

    def tick(self) -> None:
        """See ``Display``."""

    def message(self, text: str) -> None:
        """See ``Display``."""
        _print(f"{self._label}: {text}")

    def end(self, outcome: Outcome) -> None:
        """See ``Display``."""
        _print(f"{self._label}: {outcome.status.value}: {outcome.message}")


class LiveDisplay:
    """A panel that is drawn anew in place (rich), on the standard output or another console."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=console or Console(), auto_refresh=False, transient=True)
        self._plain = PlainDisplay()
        self._next_refresh = 0.0
        self._step = 0
        self._data_wait = 0.0
        self._metrics: dict[str, float] = {}
        self._logged_loss: float | None = None
        self._config: TrialConfig
        self._ledger: Ledger

    def start(self, config: TrialConfig, ledger: Ledger) -> None:
        """See ``Display``."""
        self._config, self._ledger = config, ledger
        self._step, self._metrics, self._logged_loss, self._data_wait = 0, {}, None, 0.0
        self._plain.start(config, ledger)
        self._live.update(self._panel())
        self._live.start(refresh=True)

    def step(self, step: int) -> None:
        """See ``Display``."""
        self._step = step

    def data_wait(self, seconds: float) -> None:
        """See ``Display``."""
        self._data_wait = seconds

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """See ``Display``."""
        self._logged_loss = logged_loss(values, self._logged_loss)

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """See ``Display``."""
        self._step, self._metrics = step, metrics

    def tick(self) -> None:
        """See ``Display``."""
        now = time.monotonic()
        if now >= self._next_refresh:
            self._next_refresh = now + _REFRESH_PERIOD
            self._live.update(self._panel(), refresh=True)

    def message(self, text: str) -> None:
        """See ``Display``."""
        self._live.console.print(text, style="yellow", highlight=False)

    def end(self, outcome: Outcome) -> None:
        """See ``Display``."""
        self._live.stop()
        self._plain.end(outcome)

    def _panel(self) -> Any:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        config, ledger = self._config, self._ledger
        spent = ledger.seconds(Account.SUBMISSION)
        table = Table.grid(padding=(0, 2))
        is_set_up = ledger.running is not Account.SETUP
        table.add_row("step", f"{self._step:,}" if is_set_up else "setting up")
        table.add_row("loss", self._loss_text())
        table.add_row("target", target_text(config, self._metrics))
        table.add_row(
            "budget", f"{spent:.1f} of {config.budget_sec:g} s, {left_text(config, spent)}"
        )
        table.add_row("", ProgressBar(total=config.budget_sec, completed=spent, width=40))
        table.add_row("clock", shares_text(ledger))
        table.add_row("data", data_wait_text(ledger, self._data_wait))
        return Panel(table, title=label(config), expand=False)

    def _loss_text(self) -> str:
        values = {
            "training": self._metrics.get("train/loss"),
            "validation": self._metrics.get("validation/loss"),
            "logged by the submission": self._logged_loss,
        }
        known = [f"{name} {value:.4f}" for name, value in values.items() if value is not None]
        return ", ".join(known) or "-"


def create_display() -> Display:
    """A live panel on a terminal, plain lines elsewhere."""
    return LiveDisplay() if sys.stdout.isatty() else PlainDisplay()


def label(config: TrialConfig) -> str:
    """The name of a trial on the screen."""
    return (
        f"{config.submission.name} on {config.workload.name}, study {config.study} "
        f"trial {config.trial}"
    )


def progress_text(config: TrialConfig, ledger: Ledger, step: int, metrics: dict[str, float]) -> str:
    """One line on where a trial stands."""
    spent = ledger.seconds(Account.SUBMISSION)
    return (
        f"step {step:,}  {target_text(config, metrics)}  "
        f"{spent:.1f} of {config.budget_sec:g} s, {left_text(config, spent)}  "
        f"[{shares_text(ledger)}]"
    )


def target_text(config: TrialConfig, metrics: dict[str, float]) -> str:
    """The deciding metric against its target."""
    target = config.workload.target
    value = metrics.get(f"validation/{target.metric}")
    measured = "not measured yet" if value is None else f"{value:.4f}"
    return f"validation/{target.metric} {measured} (target {target.validation:g})"


def logged_loss(values: Mapping[str, float], earlier: float | None) -> float | None:
    """The first of the logged ``values`` that is called a loss; ``earlier`` if none is."""
    return next((value for name, value in values.items() if "loss" in name.lower()), earlier)


def left_text(config: TrialConfig, spent: float) -> str:
    """The time left in the budget."""
    return f"at most {max(0.0, config.budget_sec - spent):.0f} s left"


def shares_text(ledger: Ledger) -> str:
    """The accounts' shares of the wall time."""
    total = ledger.total() or 1.0
    return ", ".join(
        f"{name.replace('_', ' ')} {100 * seconds / total:.0f} %"
        for name, seconds in ledger.as_dict().items()
    )


def data_wait_text(ledger: Ledger, seconds: float) -> str:
    """The share of submission time in which the training loop says it has waited for data."""
    spent = ledger.seconds(Account.SUBMISSION) or 1.0
    return f"waited for data {100 * seconds / spent:.0f} % of the submission time"


def _print(text: str) -> None:
    print(text, flush=True)
