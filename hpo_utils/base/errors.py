"""All errors that this package raises on purpose, derived from one class.

HpoError
 ├── ParameterError     a notebook parameter is unknown or has a wrong value
 ├── ConfigError        a key or value of the configuration is wrong
 ├── SearchSpaceError   the search space is malformed or does not fit the configuration
 ├── DataError          the arrays cannot be used in their present form
 ├── DivergenceError    the loss became NaN or infinite
 ├── InfeasibleError    a training does not fit into memory
 ├── StopRequest        a person or the deadline stops the search early
 ├── StudyError         the study or one of its trials cannot be opened or found
 └── BundleError        the bundle of a model cannot be read

Every message is one sentence for the user: the requirement, the name of the setting or array, the
value it has, and what to do.
"""

from __future__ import annotations


class HpoError(Exception):
    """Base class of all errors raised on purpose."""

    def _render_traceback_(self) -> list[str]:
        """Return only the message; IPython calls this instead of printing its own traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(HpoError):
    """A notebook parameter is unknown, or its value cannot be converted."""


class ConfigError(HpoError):
    """The configuration has an unknown key, a wrong type or a value out of range."""


class SearchSpaceError(HpoError):
    """The search space is malformed or does not fit the configuration."""


class DataError(HpoError):
    """The input arrays are missing, malformed, or do not fit each other or the split."""


class DivergenceError(HpoError):
    """The loss of a trial (which is then pruned) or of every winner seed is NaN or infinite."""


class InfeasibleError(HpoError):
    """A training does not fit into memory, even with the smallest pieces of a batch."""


class StopRequest(HpoError):  # noqa: N818 - nothing went wrong
    """A person or the deadline stops the search; the next run continues its trials."""


class StudyError(HpoError):
    """The study or one of its trials is missing or cannot be used."""


class BundleError(HpoError):
    """A bundle is missing, damaged or of an unsupported version."""
