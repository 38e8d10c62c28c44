"""The endpoint under Schemathesis, against what its OpenAPI says: whatever is sent, no 5xx and nothing undocumented."""

from __future__ import annotations

import atexit

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from recloser import Registry
from recloser.fastapi import install
from recloser.status.entry import epoch_text

REGISTRY = Registry(
    {"SECRET": "nobody knows", "BREAKERS": {"payments": {"failure_threshold": 1}, "mail": {}}}
)
atexit.register(REGISTRY.close)
ANN = {"authorization": "Bearer t"}  # a program's, so that no token stands before what is tested


def who(request, action):
    return "ann"


app = FastAPI()
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
        "recloser.status.app.LIFE", 0.2
    )  # seconds: streams end by themselves, however slow the machine is
    install(app, REGISTRY, status="/breakers", authorize=who)
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.given(known=st.sampled_from(["", "payments", "mail"]), has_seen=st.booleans())
@schema.parametrize()
@settings(max_examples=20, deadline=None)
def test_it_keeps_its_word(case, known, has_seen):
    """Statuses, media types and bodies are those of the description; for breakers that exist, and for others."""
    wrong = {place for place, made in case.meta.components.items() if made.mode is GenerationMode.NEGATIVE}
    # What is meant to be refused stays wrong: a breaker or an epoch that exists would be accepted.
    if known and "name" in case.path_parameters and ParameterLocation.PATH not in wrong:
        case.path_parameters["name"] = known
        if has_seen and isinstance(case.body, dict) and ParameterLocation.BODY not in wrong:
            case.body["epoch"] = epoch_text(REGISTRY[known].snapshot().epoch)
    # What is well-formed may still be refused: a reason of blanks, a duration of a million years.
    case.call_and_validate(headers=ANN, timeout=None, excluded_checks=[positive_data_acceptance])
