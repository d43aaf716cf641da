"""Lists over the wire: pages that neither skip nor repeat, and tokens that fit one list only."""

import base64
import functools
import json
import operator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.v1 import provider_pb2, provider_service_pb2, provider_service_pb2_grpc, run_pb2
from tests.rpc.calls import Runs, pb, refusal, stub_of


def pages(runs: Runs, **fields: object) -> list[list[str]]:
    found, token = [], ""
    while True:
        answer = runs.ListRuns(pb.ListRunsRequest(page_token=token, **fields))
        found.append([run.id for run in answer.runs])
        token = answer.next_page_token
        if not token:
            return found


def test_pages_neither_skip_nor_repeat_and_newest_comes_first(runs: Runs) -> None:
    started = [runs.finished("nothing", labels={"list": "pages"}).id for _ in range(25)]
    found = pages(runs, filter={"labels": {"list": "pages"}}, page_size=10)
    assert [len(page) for page in found] == [10, 10, 5]
    assert functools.reduce(operator.iadd, found, []) == started[::-1]
    ascending = pb.ListRunsRequest.ORDER_BY_CREATE_TIME_ASC
    assert (
        functools.reduce(
            operator.iadd,
            pages(runs, filter={"labels": {"list": "pages"}}, page_size=7, order_by=ascending),
            [],
        )
        == started
    )


def test_runs_are_found_by_state_and_provider(runs: Runs) -> None:
    failed = runs.finished("fail", labels={"list": "filter"})
    runs.finished("nothing", labels={"list": "filter"})
    by_state = {"states": [run_pb2.Run.STATE_FAILED], "labels": {"list": "filter"}}
    assert pages(runs, filter=by_state) == [[failed.id]]
    assert pages(runs, filter={"provider": "fail", "labels": {"list": "filter"}}) == [[failed.id]]


def test_the_basic_view_leaves_out_what_may_be_large(runs: Runs) -> None:
    run = runs.finished("echo", '{"value": "x"}', labels={"list": "view"})
    only = {"labels": {"list": "view"}}
    (basic,) = runs.ListRuns(pb.ListRunsRequest(filter=only)).runs
    assert not basic.HasField("input")
    assert not basic.HasField("output")
    (full,) = runs.ListRuns(pb.ListRunsRequest(filter=only, view=run_pb2.RUN_VIEW_FULL)).runs
    assert full == run


def test_pages_are_cut_by_bytes_too(runs: Runs) -> None:
    for _ in range(4):
        runs.finished("big", labels={"list": "bytes"})
    only = {"labels": {"list": "bytes"}}
    found = pages(runs, filter=only, view=run_pb2.RUN_VIEW_FULL)
    assert sum(len(page) for page in found) == 4
    assert len(found) >= 2


@pytest.mark.parametrize("token", ["nonsense", "é", "W10", "bnVsbA", "x" * 10_000, "W1tb" * 25_000])
def test_a_token_that_is_none_is_refused(runs: Runs, token: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        runs.ListRuns(pb.ListRunsRequest(page_token=token))
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == "page_token"


def test_a_token_of_another_list_is_refused(runs: Runs, grpc_channel: grpc.Channel) -> None:
    for _ in range(3):
        runs.finished("nothing")
    token = runs.ListRuns(pb.ListRunsRequest(page_size=2)).next_page_token
    assert token
    others = [
        pb.ListRunsRequest(page_token=token, filter={"provider": "nothing"}),
        pb.ListRunsRequest(page_token=token, order_by=pb.ListRunsRequest.ORDER_BY_CREATE_TIME_ASC),
    ]
    for request in others:
        with pytest.raises(grpc.RpcError) as error:
            runs.ListRuns(request)
        assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    providers = stub_of(provider_service_pb2_grpc.ProviderServiceStub, grpc_channel)
    with pytest.raises(grpc.RpcError) as error:
        providers.ListProviders(provider_service_pb2.ListProvidersRequest(page_token=token))
    assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_runs_are_found_by_a_word_and_by_what_they_touched(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something")
    touching = runs.finished("fingerprint", json.dumps({"path": str(tmp_path)}), labels={"team": "Ärzte-42x"})
    runs.finished("greet", '{"name": "Ada"}')

    def found(**filter_: Any) -> list[str]:
        return [run.id for run in runs.ListRuns(pb.ListRunsRequest(filter=filter_)).runs]

    assert found(text="42X ärz") == [touching.id]
    assert touching.id in found(text="fingerp 1 files")
    assert found(text="2X") == []
    assert found(ref={"type": "folder", "id": str(tmp_path)}) == [touching.id]
    assert touching.id in found(ref={"type": "folder"})
    assert found(ref={"type": "folder", "id": "/nowhere"}) == []


def test_providers_are_listed_filtered_and_described(grpc_channel: grpc.Channel) -> None:
    stub = stub_of(provider_service_pb2_grpc.ProviderServiceStub, grpc_channel)
    names = [p.name for p in stub.ListProviders(provider_service_pb2.ListProvidersRequest()).providers]
    assert names == sorted(names)
    assert {"greet", "fingerprint", "countdown", "nothing"} <= set(names)
    by_text = stub.ListProviders(
        provider_service_pb2.ListProvidersRequest(filter=provider_pb2.ProviderFilter(text="FINGERPRINT"))
    )
    assert "fingerprint" in [p.name for p in by_text.providers]
    one = stub.GetProvider(provider_service_pb2.GetProviderRequest(name="fingerprint")).provider
    assert '"path"' in one.input_schema
    assert one.checkpointing
    with pytest.raises(grpc.RpcError) as error:
        stub.GetProvider(provider_service_pb2.GetProviderRequest(name="gone"))
    assert refusal(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND")


@pytest.mark.parametrize("place", [[10**30, "run"], [1, "\ud800"]])
def test_a_forged_token_that_no_store_can_look_for_is_refused(runs: Runs, place: list[Any]) -> None:
    runs.finished("nothing")
    runs.finished("nothing")
    token = runs.ListRuns(pb.ListRunsRequest(page_size=1)).next_page_token
    owner, *_ = json.loads(base64.urlsafe_b64decode(token + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([owner, *place]).encode()).decode().rstrip("=")
    with pytest.raises(grpc.RpcError) as error:
        runs.ListRuns(pb.ListRunsRequest(page_size=1, page_token=forged))
    assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
