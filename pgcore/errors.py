"""The one error that is the user's to mend."""


class BadInput(ValueError):
    """What was given cannot work; the message says in one sentence what is wrong and how to mend it.

    The app shows the message, the command line prints it and exits with 2.
    """
