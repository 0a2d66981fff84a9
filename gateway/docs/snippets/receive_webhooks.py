"""Receives webhooks, and believes those that are signed with WEBHOOK_SECRET."""

import base64
import hmac
import json
import os
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

SECRET = os.environ["WEBHOOK_SECRET"]
PORT = int(os.environ.get("PORT", "9000"))
TOLERANCE_S = 5 * 60


def verify(secret: str, headers: Message, body: bytes) -> Any:
    """The event in the body. Raises ValueError unless it was signed just now.

    `headers` may be any mapping that ignores the case of its names.
    """
    message_id = headers.get("webhook-id", "")
    sent_at = headers.get("webhook-timestamp", "")
    if abs(time.time() - int(sent_at)) > TOLERANCE_S:
        raise ValueError("not sent just now")
    signed = f"{message_id}.{sent_at}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(key_of(secret), signed, "sha256"))
    given = headers.get("webhook-signature", "").encode().split(b" ")
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise ValueError("not signed with this secret")
    return json.loads(body)


def key_of(secret: str) -> bytes:
    """What `whsec_` and base64 decode to; of any other secret its characters."""
    encoded = secret.removeprefix("whsec_")
    if encoded in ("", secret):
        return secret.encode()
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return secret.encode()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            event = verify(SECRET, self.headers, body)
        except ValueError as refusal:
            self.log_message("refused: %s", refusal)
            self.send_response(401)
        else:
            # It may come twice: remember event["id"]. Do slow work later.
            self.log_message("%s %s", event["type"], event["id"])
            self.send_response(204)
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Says nothing of a request: do_POST has said it."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
