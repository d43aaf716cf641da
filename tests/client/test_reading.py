"""Payloads, kinds and states: what the messages of the contract mean in Python."""

import json

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from runcast.client import (
    ArtifactRef,
    Payload,
    Run,
    RunEvent,
    is_final,
    kind,
    state_name,
    state_of,
    to_dict,
    to_payload,
    to_python,
)
from runcast.v1 import run_pb2

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), plain))
def test_parameters_come_back_as_they_were(parameters: dict[str, object]) -> None:
    try:
        payload = to_payload(parameters)
    except (UnicodeEncodeError, ValueError):
        # A lone surrogate is not text that protobuf carries.
        assert "\\ud" in json.dumps(parameters)
        return
    assert payload is not None
    assert to_python(payload) == parameters


def test_integers_of_any_size_stay_exact() -> None:
    payload = to_payload({"n": 2**200 + 1})
    assert payload is not None
    assert to_python(payload) == {"n": 2**200 + 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_json_cannot_say_is_refused_before_it_is_sent(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_payload({"value": value})


def test_a_payload_made_by_hand_is_sent_as_it_is() -> None:
    payload = Payload(artifact="art_1")
    assert to_payload(payload) is payload
    assert to_payload(None) is None


def test_each_kind_of_payload_has_its_value() -> None:
    structure = Payload()
    ParseDict({"a": [1, "x", None]}, structure.value)
    assert to_python(structure) == {"a": [1, "x", None]}
    assert to_python(Payload(data=b"\x00")) == b"\x00"
    assert to_python(Payload(artifact="art_1", content_type="text/csv")) == ArtifactRef("art_1", "text/csv")
    assert to_python(Payload(json="null")) is None
    assert to_python(Payload()) is None


def test_a_kind_is_the_name_that_event_types_filter_by() -> None:
    event = RunEvent(sequence=1)
    assert kind(event) == ""
    event.progress.completed = 1
    assert kind(event) == "progress"


def test_every_state_has_a_name_and_the_name_leads_back() -> None:
    for value in run_pb2.Run.State.values():
        assert state_of(state_name(value)) == value
    assert state_of("succeeded_with_errors") == run_pb2.Run.STATE_SUCCEEDED_WITH_ERRORS
    assert state_name(99) == "STATE_99"


def test_a_state_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"DONE.*SCHEDULED, QUEUED"):
        state_of("DONE")


def test_a_state_from_sixteen_on_is_final_also_where_it_is_not_known() -> None:
    assert not is_final(run_pb2.Run.STATE_CANCELLING)
    assert is_final(run_pb2.Run.STATE_SUCCEEDED)
    assert is_final(99)


def test_a_message_as_plain_data_keeps_the_names_of_the_contract() -> None:
    run = Run(id="run_1", state=run_pb2.Run.STATE_RUNNING, last_sequence=2)
    run.create_time.FromJsonString("2030-01-01T12:00:00Z")
    assert to_dict(run) == {
        "id": "run_1",
        "state": "STATE_RUNNING",
        "last_sequence": "2",
        "create_time": "2030-01-01T12:00:00Z",
    }
