"""All errors that this package raises on purpose, under one root.

HpoError
 ├── ParameterError     a notebook parameter is unknown or has a wrong value
 ├── ConfigError        a key or value of the configuration is wrong
 ├── SearchSpaceError   the search space is malformed or does not fit the configuration
 ├── DataError          the arrays cannot be used as they are
 ├── DivergenceError    the loss became NaN or infinite
 ├── InfeasibleError    a training does not fit into the memory
 ├── StopRequest        the search is to stop before it is done
 ├── StudyError         the study, or a trial of it, cannot be opened or found
 └── BundleError        the model's bundle cannot be read

Every message is one sentence for the person at the keyboard: what must hold, the name, the value
got, and what to do.
"""

from __future__ import annotations


class HpoError(Exception):
    """Root of all errors raised on purpose."""

    def _render_traceback_(self) -> list[str]:
        """Show the sentence alone: IPython calls this in place of its own traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(HpoError):
    """A notebook parameter is unknown, or its value cannot be converted."""


class ConfigError(HpoError):
    """The configuration has an unknown key, a wrong type or a value out of range."""


class SearchSpaceError(HpoError):
    """The search space is malformed, or does not fit the configuration."""


class DataError(HpoError):
    """The input arrays are missing, malformed, or do not fit each other or the split."""


class DivergenceError(HpoError):
    """The loss became NaN or infinite, which prunes a trial; or on every seed of a winner."""


class InfeasibleError(HpoError):
    """A training does not fit into the memory, however small the pieces of its batches."""


class StopRequest(HpoError):  # noqa: N818 - nothing went wrong
    """A person or the deadline wants the search to stop; its trials go on when it is run again."""


class StudyError(HpoError):
    """The study or one of its trials is missing, or cannot be used."""


class BundleError(HpoError):
    """A bundle is missing, damaged, or of another version."""
