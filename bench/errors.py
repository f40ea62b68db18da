"""The errors that a user can cause, and the exit codes of the command line."""

from difflib import get_close_matches

EXIT_OK = 0
EXIT_REGRESSION = 1
EXIT_USAGE = 2
EXIT_CASE_FAILED = 3
EXIT_NOTHING_COMPARED = 4
EXIT_IMPROVED = 5


class RevbenchError(Exception):
    """Something that the user can mend; the message is one sentence: what, where, what to do."""

    exit_code = EXIT_USAGE


class ConfigError(RevbenchError):
    """A suite file, an override or an argument that cannot be used."""


class OutputError(RevbenchError):
    """Results cannot be written or read."""


class BaselineError(RevbenchError):
    """A baseline that cannot be read."""


class CaseError(RevbenchError):
    """A case that cannot be run or traced."""

    exit_code = EXIT_CASE_FAILED


class DivergedError(Exception):
    """A loss that is not finite: the training step and all after it mean nothing."""

    def __init__(self, loss: float, step: int) -> None:
        super().__init__(f"the loss is {loss} at training step {step}")


class DeviceError(RevbenchError):
    """The device asked for is not there."""


def nearest(name: str, valid: list[str]) -> str:
    """Ends an error message: the nearest valid name if one is near, else all of them."""
    close = get_close_matches(name, valid, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid: {', '.join(sorted(valid))}" if valid else "there is none"
