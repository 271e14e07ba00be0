"""What can be said to whoever runs Distal. No torch here: certificates are read without it."""


class BadInputError(Exception):
    """The user gave something unusable: one line that says what was given, what was expected, what to do.

    The plugin turns it into exit status 4.
    """


class NonFiniteError(Exception):
    """A network or a score produced NaN or infinity; the criterion it belongs to becomes inconclusive."""
