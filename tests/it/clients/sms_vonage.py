"""Actions of Vonage's Python libraries, new and old: a JSON list of jobs as the only argument, a line of JSON for each.

In: library (vonage, nexmo), action (send, balance, check), base, key, secret, signature {secret, method} or
null, fields. Out: {"answer": ...} or {"error": text}.
"""
import json
import sys
from urllib.parse import urlsplit, urlunsplit

from requests.adapters import HTTPAdapter


class Here(HTTPAdapter):
    """Both libraries insist on https://; the rest of the URL is theirs."""

    def __init__(self, base):
        super().__init__()
        self.base = urlsplit(base)

    def send(self, request, **kw):
        url = urlsplit(request.url)
        request.url = urlunsplit((self.base.scheme, self.base.netloc, url.path, url.query, ""))
        return super().send(request, **kw)


def vonage(job, secret, signature, method):
    from vonage import Auth, HttpClientOptions, Vonage
    from vonage_sms import SmsMessage

    how = {"signature_secret": signature["secret"], "signature_method": method} if signature else {"api_secret": secret}
    client = Vonage(Auth(api_key=job["key"], **how), HttpClientOptions(rest_host=urlsplit(job["base"]).netloc))
    client.http_client._session.mount("https://", Here(job["base"]))
    if job["action"] == "check":
        return client.http_client.auth.check_signature(job["fields"])
    if job["action"] == "balance":
        return client.account.get_balance().model_dump()
    fields = {name.replace("-", "_"): value for name, value in job["fields"].items()}
    fields["from_"] = fields.pop("from")
    return client.sms.send(SmsMessage(**fields)).model_dump(by_alias=False)


def nexmo(job, secret, signature, method):
    import nexmo

    client = nexmo.Client(
        key=job["key"], secret=secret, signature_secret=signature.get("secret"), signature_method=method
    )
    client.session.mount("https://", Here(job["base"]))
    if job["action"] == "check":
        return client.check_signature(job["fields"])
    if job["action"] == "balance":
        return client.get_balance()
    return nexmo.Sms(client).send_message(dict(job["fields"]))


for job in json.loads(sys.argv[1]):
    signature = job.get("signature") or {}
    secret = None if signature else job.get("secret")
    # HMAC-MD5 is called md5, and the plain hash has no name.
    method = None if signature.get("method") == "md5hash" else signature.get("method")
    library = {"vonage": vonage, "nexmo": nexmo}[job["library"]]
    try:
        print(json.dumps({"answer": library(job, secret, signature, method)}))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
