"""Receives deliveries and verifies them with the standardwebhooks and svix packages, as a receiver would. Writes them to a
file, for the packages of other languages."""

import base64
import hashlib
import hmac
import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue

import standardwebhooks
import svix

url, token, file = sys.argv[1:]
PACKAGES = {
    "standardwebhooks": (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    "svix": (svix.Webhook, svix.WebhookVerificationError),
}
arrived = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()
        arrived.put((self.path, dict(self.headers.items()), body))

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()


def call(method, path, body=None):
    request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def endpoint(path, **more):
    return call("POST", "/v3/webhooks", {"url": f"http://127.0.0.1:{server.server_port}{path}", **more})


standard = endpoint("/standard")
plain = endpoint("/plain", signatureStyle="plain", secret="a-secret-that-a-cryptlex-client-has")
account = call("POST", "/v3/accounts", {"email": "hooked@example.com"})
call("PUT", f"/v3/accounts/{account['id']}/status", {"status": "inactive"})
call("POST", f"/v3/webhooks/{standard['id']}/rotate-secret", {"graceSeconds": 600})
call("PUT", f"/v3/accounts/{account['id']}/status", {"status": "active"})

seen = {"/standard": [], "/plain": []}
recorded = []
while min(len(sequences) for sequences in seen.values()) < 3:
    path, headers, body = arrived.get(timeout=60)
    headers = {name.lower(): value for name, value in headers.items()}
    if path == "/standard":
        # During the grace period both secrets sign, so the old one still verifies.
        for name, (Webhook, Refused) in PACKAGES.items():
            message = Webhook(standard["secret"]).verify(body, headers)
            message = message or json.loads(body)
            try:
                Webhook(standard["secret"]).verify(body.replace(b"hooked", b"hacked"), headers)
                raise SystemExit(f"{name} accepted a body that was tampered with")
            except Refused:
                pass
        recorded.append({"secret": standard["secret"], "headers": headers, "body": body.decode()})
    else:
        expected = base64.b64encode(hmac.digest(b"a-secret-that-a-cryptlex-client-has", body, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == expected, headers
        message = json.loads(body)
    assert message["event"] == "account.updated" and message["data"]["id"] == account["id"], message
    seen[path].append(message["sequence"])
assert all(sequences == [1, 2, 3] for sequences in seen.values()), seen
with open(file, "w", encoding="utf-8") as out:
    json.dump(recorded, out)
print(f"PyPI {', '.join(PACKAGES)}: 3 deliveries verified, tampering refused; plain style: 3 verified: ok")
