"""An application's own server: answers 200 to what the vendors' libraries believe and 403 to everything else.

SECRETS is JSON: twilio, vonage {key, secret, method}, gatewayapi, waybill, flow. Prints its port, and then
a line of JSON for each request that it has believed: path, fields. The first word of the path says whose validator looks.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import jwt
import nexmo
import standardwebhooks
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse
from vonage import Auth

SECRETS = json.loads(os.environ["SECRETS"])
TELLING = threading.Lock()


def twilio(url, headers, fields, body):
    return RequestValidator(SECRETS["twilio"]).validate(url, fields, headers["X-Twilio-Signature"])


def vonage(url, headers, fields, body):
    account = SECRETS["vonage"]
    how = {"signature_secret": account["secret"], "signature_method": account["method"]}
    new = Auth(api_key=account["key"], **how).check_signature(dict(fields))
    old = nexmo.Client(key=account["key"], secret="-", **how).check_signature(dict(fields))
    return new and old


def gatewayapi(url, headers, fields, body):
    claims = jwt.decode(headers["X-Gwapi-Signature"], SECRETS["gatewayapi"], algorithms=["HS256"])
    return claims == fields


def waybill(url, headers, fields, body):
    return standardwebhooks.Webhook(SECRETS["waybill"]).verify(body, headers) == fields


def flow(url, headers, fields, body):
    return standardwebhooks.Webhook(SECRETS["flow"]).verify(body, headers) == fields


def kannel(url, headers, fields, body):
    """Kannel signs nothing."""
    return True


CHECKS = {check.__name__: check for check in (twilio, vonage, gatewayapi, waybill, flow, kannel)}


class Receiver(BaseHTTPRequestHandler):
    def do_GET(self):
        url = f"http://{self.headers['Host']}{self.path}"
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        fields = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if body:
            is_json = self.headers["Content-Type"].startswith("application/json")
            fields = json.loads(body) if is_json else dict(parse_qsl(body, keep_blank_values=True))
        try:
            is_believed = CHECKS[path.split("/")[1]](url, self.headers, fields, body)
        except Exception as error:
            print(f"{path}: {error!r}", file=sys.stderr, flush=True)
            is_believed = False
        if is_believed:
            with TELLING:
                print(json.dumps({"path": path, "fields": fields}), flush=True)
        answer = b""
        if path == "/twilio/inbound":
            reply = MessagingResponse()
            reply.message("Tak & på gensyn")
            answer = str(reply).encode()
        self.send_response(200 if is_believed else 403)
        self.send_header("Content-Type", "text/xml" if answer else "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
