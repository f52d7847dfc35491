"""Arguments that the library cannot be given: each error names the argument, and what it may be."""

import operator


def _wrong_type(argument, allowed, value):
    return TypeError(f"{argument} must be {allowed}, not {type(value).__name__}")


def text(argument, value):
    """A string."""
    if not isinstance(value, str):
        raise _wrong_type(argument, "a str", value)
    return value


def integer(argument, value, most):
    """A whole number from 0 on. ctypes would cut off what does not fit."""
    try:
        number = operator.index(value)
    except TypeError:
        raise _wrong_type(argument, "an int", value) from None
    if not 0 <= number <= most:
        raise ValueError(f"{argument} must be from 0 to {most}, not {number}")
    return number


def seconds(argument, value):
    """A time that is not negative, nor a NaN."""
    try:
        is_time = value >= 0
    except TypeError:
        raise _wrong_type(argument, "a number of seconds", value) from None
    if not is_time:
        raise ValueError(f"{argument} must not be negative: {value}")
    return value


def choice(argument, value, allowed):
    """The number of one of these strings."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return allowed.index(value)


def having(argument, value, allowed, *attributes):
    """Something that has these attributes."""
    if not all(hasattr(value, attribute) for attribute in attributes):
        raise _wrong_type(argument, allowed, value)
    return value
