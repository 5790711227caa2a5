"""What a run of schemathesis needs beyond the description of the API.

Words of the search language, good passwords and addresses, which no schema can describe. A cursor is good only in the
list that gave it, so none is made up where a good request is meant; a token expires in the future, and a call was in the past.
Ids that nobody has lead nowhere: half of the good requests are about what the test has put there. The token and the user that the run
itself needs are left alone. And each request comes from an address of its own on loopback: the gateway limits how many
wrong tokens one address may show, and wrong tokens are a part of the run.

WAYBILL_KNOWN has the path parameters that lead somewhere, by what stands before them in the path; WAYBILL_OWN what must
stay; and each answer adds a line to WAYBILL_ANSWERS.
"""

import itertools
import json
import os
import random

import schemathesis
import urllib3.util.connection
from hypothesis import strategies as st
from schemathesis import GenerationMode

WORDS = st.sampled_from(["invoice", "inv-12", "from:anna", '"dear kim"', "-draft", "is:unread", "has:attachment"])
schemathesis.openapi.format("waybill-query", st.lists(WORDS, min_size=1, max_size=3).map(" ".join))
PASSWORDS = st.text("abcdefgh 0123456789æ", min_size=12, max_size=40).map(lambda text: text + "aB3-x")
schemathesis.openapi.format("password", PASSWORDS)

KNOWN = json.loads(os.environ["WAYBILL_KNOWN"])
OWN = set(json.loads(os.environ["WAYBILL_OWN"]))
ANSWERS = open(os.environ["WAYBILL_ANSWERS"], "a", buffering=1)
CHANCE = random.Random(1)

ADDRESSES = (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(1, 255), range(255), range(1, 255)))
connect = urllib3.util.connection.create_connection


def connect_from_another_address(address, *args, **kwargs):
    kwargs["source_address"] = (next(ADDRESSES), 0)
    return connect(address, *args, **kwargs)


urllib3.util.connection.create_connection = connect_from_another_address


def is_meant_well(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def lead_somewhere(case):
    """Path parameters that are there. What is taken away comes from the end, and nobody else asks for that half."""
    parts = case.operation.path.split("/")
    for name in case.path_parameters or {}:
        known = KNOWN.get(parts[parts.index("{" + name + "}") - 1])
        if not known or CHANCE.random() < 0.5:
            continue
        is_last = case.method == "DELETE" and len(known) > 1
        case.path_parameters[name] = known.pop() if is_last else CHANCE.choice(known[: max(1, len(known) // 2)])


def make_short(fields):
    """A schema counts characters, and these two are counted in bytes."""
    for name, most in (("reference", 64), ("tag", 128)):
        value = (fields or {}).get(name)
        if isinstance(value, str):
            fields[name] = value.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")


def make_possible(body):
    """What is right by its form alone becomes right as things stand."""
    if isinstance(body.get("expires_at"), str):
        body["expires_at"] = "2999-12-31T23:59:59Z"
    if isinstance(body.get("at"), str):
        body["at"] = "2020-01-31T08:00:00Z"
    if isinstance(body.get("password"), str) and len(set(body["password"])) < 9:
        body["password"] = "seven quiet lighthouse keepers"
    if body.get("recipients") and CHANCE.random() < 0.5:
        body["recipients"] = [0]
    if isinstance(body.get("ids"), list) and CHANCE.random() < 0.5:
        body["ids"] = KNOWN["messages"][-2:]
    if "action" in body and isinstance(body.get("query"), dict):
        make_short(body["query"])
        # Not everything that the requests after it need.
        body["dry_run"] = True


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.headers is not None:
        case.headers["Connection"] = "close"
    if is_meant_well(case):
        (case.query or {}).pop("cursor", None)
        make_short(case.query)
        make_short(case.path_parameters)
        lead_somewhere(case)
        if isinstance(case.body, dict):
            make_possible(case.body)
    if case.method != "GET":
        for name, value in (case.path_parameters or {}).items():
            if str(value).lower() in OWN:
                case.path_parameters[name] = "01JD5VZ7Q4N7W4T6Y5M8R2K3B1"


@schemathesis.hook
def after_call(context, case, response):
    ANSWERS.write(f"{response.status_code} {case.method} {case.operation.path}\n")
