"""Text of which it is not known who wrote it, made fit to be shown."""

import re

# Where these stand, Markdown sees a meaning, unless a backslash takes it away (CommonMark, §2.4) …
_MARKUP = re.compile(r"[\\`*\[\]<>$~|]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])|-(?=-)|^[-+=#]|^\d+[.)]")
# … and these become icons and links whatever stands before them, unless something invisible stands within.
_LIVE = re.compile(r":(?=[\w/])|@|www(?=\.)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def plain(text: object) -> str:
    """The text as Markdown that reads just so, on one line: names, tickers, file names, column headers, error messages.

    No emphasis, link, image, list, formula, colour, icon or HTML can come of it; what has no such meaning stays as it is.
    """
    line = _MARKUP.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", " ".join(str(text).split()))
    return _LIVE.sub(lambda found: found[0] + _WORD_JOINER, line)
