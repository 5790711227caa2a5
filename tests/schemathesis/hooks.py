"""Values that no schema can describe, for the run of schemathesis: words of the search language, and passwords.

A cursor is good only in the list that gave it, so none is made up: it comes from an answer, or is wrong on purpose.
"""

import schemathesis
from hypothesis import strategies as st

WORDS = st.sampled_from(["invoice", "inv-12", "from:anna", '"dear kim"', "-draft", "is:unread", "has:attachment"])
schemathesis.openapi.format("waybill-query", st.lists(WORDS, min_size=1, max_size=3).map(" ".join))
schemathesis.openapi.format("password", st.text("abcdefgh 0123456789æ", min_size=12, max_size=40).map(lambda t: t + "aB3-x"))


@schemathesis.hook
def map_query(context, query):
    if query and "cursor" in query:
        del query["cursor"]
    return query
