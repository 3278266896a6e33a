"""Put on PYTHONPATH, this notes what a Python process opens to write, makes, moves or removes, and what it imports and starts.

One JSON array a line in the file that PGLAB_AUDIT names: the event and its paths. Started processes inherit it.
"""

import json
import os
import sys

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {"os.mkdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.remove": 1, "os.rmdir": 1, "os.truncate": 1}
_WATCHED = frozenset(os.environ.get("PGLAB_AUDIT_MODULES", "").split(","))


def _watch(path: str) -> None:
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and args[2] & _WRITES and not isinstance(args[0], int):
                told = [event, os.fsdecode(args[0])]
            else:
                return
        elif event in _PATHS:
            told = [event, *(os.fsdecode(arg) for arg in args[: _PATHS[event]] if isinstance(arg, (str, bytes)))]
        elif event == "import" and args[0] in _WATCHED:
            told = [event, args[0]]
        elif event in ("os.system", "os.exec", "subprocess.Popen"):
            told = [event, str(args[1] if event == "subprocess.Popen" else args[0])]
        else:
            return
        os.write(notes, (json.dumps(told) + "\n").encode())

    sys.addaudithook(note)


if "PGLAB_AUDIT" in os.environ:
    _watch(os.environ["PGLAB_AUDIT"])
