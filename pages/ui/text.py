"""Text of which it is not known who wrote it, made fit to be shown."""

import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def plain(text: object) -> str:
    """The text as Markdown that reads just so, on one line: names, tickers, file names, column headers, error messages.

    No emphasis, link, image, formula, colour, icon or HTML can come of it (CommonMark, §2.4: a backslash takes the meaning
    from any ASCII punctuation).
    """
    return _PUNCTUATION.sub(r"\\\1", " ".join(str(text).split()))
