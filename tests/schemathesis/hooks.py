"""What a run of schemathesis needs beyond the description of the API.

Words of the search language and good passwords, which no schema can describe. A cursor is good only in the list that
gave it, so none is made up where a good request is meant; and a token expires in the future. The token of the run itself is not revoked. And each request comes from an address of its
own on loopback: the gateway limits how many wrong tokens one address may show, and wrong tokens are a part of the run.
"""

import itertools
import os

import schemathesis
import urllib3.util.connection
from hypothesis import strategies as st
from schemathesis import GenerationMode

WORDS = st.sampled_from(["invoice", "inv-12", "from:anna", '"dear kim"', "-draft", "is:unread", "has:attachment"])
schemathesis.openapi.format("waybill-query", st.lists(WORDS, min_size=1, max_size=3).map(" ".join))
PASSWORDS = st.text("abcdefgh 0123456789æ", min_size=12, max_size=40).map(lambda text: text + "aB3-x")
schemathesis.openapi.format("password", PASSWORDS)

ADDRESSES = (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(1, 255), range(255), range(1, 255)))
connect = urllib3.util.connection.create_connection


def connect_from_another_address(address, *args, **kwargs):
    kwargs["source_address"] = (next(ADDRESSES), 0)
    return connect(address, *args, **kwargs)


urllib3.util.connection.create_connection = connect_from_another_address


@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    return not path_parameters or path_parameters.get("id") != os.environ.get("WAYBILL_OWN_TOKEN")


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.headers is not None:
        case.headers["Connection"] = "close"
    if case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE:
        (case.query or {}).pop("cursor", None)
        if isinstance(case.body, dict) and isinstance(case.body.get("expires_at"), str):
            case.body["expires_at"] = "2999-12-31T23:59:59Z"
    if case.method == "DELETE" and (case.path_parameters or {}).get("id") == os.environ.get("WAYBILL_OWN_TOKEN"):
        case.path_parameters["id"] = "01JD5VZ7Q4N7W4T6Y5M8R2K3B1"
