"""Keep an application open and take its actions as lines of JSON.

Runs inside the application's own environment, so it imports nothing but the standard library. A request is
`{"action": NAME, "args": {…}}`, an answer `{"ok": RESULT}` or `{"error": TEXT}`; each is one line. What the
application prints goes to stderr, so that it never mixes with the answers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def serve(actions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests until stdin ends. An action that fails is answered, never fatal."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write(json.dumps({"ok": "ready"}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": actions[request["action"]](**request["args"])}
        except Exception as e:  # the application's own refusals are answers too
            answer = {"error": f"{type(e).__name__}: {e}"}
        answers.write(json.dumps(answer, ensure_ascii=False, default=str) + "\n")
        answers.flush()
