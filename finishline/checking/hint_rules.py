"""Which names in a submission's source a reviewer looks at, and why."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Rule:
    """Names with one reason.

    Attributes:
      names: dotted names; what they contain is meant as well, up to the longest that has a rule.
      reason: what follows the name in the hint.
    """

    names: tuple[str, ...]
    reason: str


_RULES = (
    Rule(
        ("os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"),
        "is the environment, which tells machines and runs apart and steers the harness.",
    ),
    Rule(
        (
            *("threading", "_thread", "concurrent", "multiprocessing", "asyncio", "joblib"),
            *("torch.multiprocessing", "torch.cuda.Stream", "torch.cuda.stream"),
        ),
        "runs things side by side: does all of it end with the step that started it?",
    ),
    Rule(
        ("jax.pure_callback", "jax.experimental.io_callback", "jax.debug.callback"),
        "calls Python from the device: does all of it end with the step that started it?",
    ),
    Rule(
        (
            *("subprocess", "pty", "os.system", "os.popen", "os.fork", "os.forkpty"),
            *("os.posix_spawn", "os.posix_spawnp", "os.execv", "os.execve", "os.execvp"),
            *("os.execl", "os.execlp", "os.spawnv", "os.spawnl", "os.spawnvp", "os.spawnlp"),
        ),
        "starts programs, which could go on while the clock stands still.",
    ),
    Rule(
        ("os.kill", "os.killpg", "os.nice", "os.sched_setaffinity", "resource", "psutil"),
        "reaches for processes or their resources.",
    ),
    Rule(
        ("signal", "atexit", "faulthandler"),
        "lets code run at moments that the submission chooses instead of the harness.",
    ),
    Rule(
        (
            *("socket", "ssl", "http", "urllib", "urllib3", "requests", "httpx", "aiohttp"),
            *("ftplib", "smtplib", "xmlrpc", "grpc", "torch.hub", "huggingface_hub", "wandb"),
        ),
        "is for the network: nothing may come in or go out during a trial.",
    ),
    Rule(
        (
            *("os.open", "os.listdir", "os.scandir", "os.walk", "os.path.exists", "os.path.isfile"),
            *("io.open", "glob", "shutil", "tempfile", "mmap", "sqlite3", "h5py", "fileinput"),
            *("json.load", "json.dump", "pickle.load", "pickle.dump", "shelve", "linecache"),
            *("numpy.load", "numpy.save", "numpy.savez", "numpy.loadtxt", "numpy.genfromtxt"),
            *("numpy.fromfile", "numpy.memmap", "jax.numpy.load", "jax.numpy.save"),
            *("torch.load", "torch.save", "pandas.read_csv", "safetensors", "orbax"),
        ),
        "reads or writes files: what does the submission know, or leave, beyond its source?",
    ),
    Rule(
        ("gc", "inspect", "sys._getframe", "sys._current_frames", "sys.settrace", "sys.setprofile"),
        "finds the harness's objects at run time.",
    ),
    Rule(("ctypes", "cffi"), "reaches below Python, where nothing keeps it from the harness."),
    Rule(
        ("sys.modules", "sys.meta_path", "sys.path_hooks", "builtins", "unittest"),
        "is where modules and their functions can be replaced.",
    ),
    Rule(
        ("importlib", "marshal", "pickle.loads", "base64", "zlib", "codecs", "runpy"),
        "unpacks or loads code or data that the source does not show.",
    ),
    Rule(("time.sleep",), "waits: for what?"),
    Rule(
        (
            *("torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.Generator"),
            *("torch.cuda.manual_seed_all", "random.seed", "random.Random", "numpy.random.seed"),
            *("numpy.random.default_rng", "numpy.random.RandomState"),
            *("jax.random.PRNGKey", "jax.random.key", "os.urandom", "secrets"),
        ),
        "makes a seed of its own: the harness gives the seeds, and draws them anew for each trial.",
    ),
    Rule(
        (
            *("torch.backends", "torch.set_float32_matmul_precision", "torch.set_num_threads"),
            *("torch.set_default_dtype", "jax.config", "jax.default_matmul_precision"),
        ),
        "sets an option of the framework: does it change what the workload computes?",
    ),
    Rule(
        ("finishline", "workloads", "scoring"),
        "is the harness's inside; submissions need finishline.spec and finishline.recipes alone.",
    ),
    Rule(("finishline.spec", "finishline.recipes"), ""),  # the exceptions
)

REASONS: Mapping[str, str] = {name: rule.reason for rule in _RULES for name in rule.names}

# Names that need no import.
GLOBALS: Mapping[str, str] = {
    "__file__": "finds files: what does the submission know beyond its source?",
    "__builtins__": "is where functions can be replaced.",
}

# Functions that need no import, where they are called.
BUILTINS: Mapping[str, str] = {
    "open": "reads or writes files: what does the submission know, or leave, beyond its source?",
    **dict.fromkeys(
        ("exec", "eval", "compile", "__import__"), "runs code that the source does not show."
    ),
}

# Methods whose names tell enough.
METHODS: Mapping[str, str] = dict.fromkeys(
    ("read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob", "tofile"),
    "reads or writes files: what does the submission know, or leave, beyond its source?",
)

# Of these and what they contain, no attribute should be set.
WATCHED_MODULES = frozenset(
    {
        *("finishline", "algoperf", "algorithmic_efficiency", "workloads", "time", "os", "sys"),
        *("torch", "jax", "jaxlib", "flax", "optax", "numpy", "random", "json", "builtins"),
        *("socket", "signal", "threading", "safetensors"),
    }
)

# Attributes of a workload that tell which it is.
TELLING_ATTRIBUTES = frozenset(
    {
        *("num_train_examples", "num_eval_train_examples", "num_validation_examples"),
        *("num_test_examples", "eval_batch_size", "target_metric_name", "step_hint"),
        *("validation_target_value", "max_allowed_runtime_sec", "eval_period_time_sec"),
    }
)

# Keyword arguments of schedules that are counts of steps.
STEP_KEYWORDS = frozenset(
    {
        *("total_iters", "T_max", "T_0", "total_steps", "decay_steps", "transition_steps"),
        *("num_steps", "step_hint"),
    }
)


def match(name: str) -> str | None:
    """The hint on the dotted ``name``; None if no rule covers it."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        covering = ".".join(parts[:end])
        if covering in REASONS:
            return f"`{covering}` {REASONS[covering]}" if REASONS[covering] else None
    return None
