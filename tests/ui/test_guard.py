"""Nobody gets past the door without the token, under another name, or to change anything."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="the explorer is an extra")
pytest.importorskip("httpx2", reason="starlette's test client needs it")

from starlette.testclient import TestClient

from inmem.ui.guard import HEADERS, Guard
from tests.ui.site import BASE, HOST, TOKEN

PATHS = ("", "runs", "events?run=r", "static/explorer.js", "version", "no-such-page")


@pytest.mark.parametrize("page", PATHS)
@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", f"x/{TOKEN}", f"..%2F{TOKEN}", "\u202e"])
def test_without_the_token_there_is_nothing(site, page, token):
    answer = site.client.get(f"http://{HOST}/{token}/{page}", follow_redirects=False)
    assert answer.status_code == 403
    assert TOKEN not in answer.text


def test_with_the_token_there_is(site):
    assert site.client.get(BASE).status_code == 200
    assert site.client.head(BASE).status_code == 200
    assert site.client.head(BASE).content == b""
    assert site.answer("no-such-page").status_code == 404
    assert site.client.get(BASE.rstrip("/"), follow_redirects=False).headers["location"] == f"/{TOKEN}/"


@pytest.mark.parametrize(
    ("path", "to"), [("runs/", "runs"), ("events/?run=r", "events?run=r"), ("runs//", "runs"), ("static", "static/")]
)
def test_a_slash_too_many_leads_to_the_page_and_keeps_the_token(site, path, to):
    answer = site.client.get(BASE + path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, BASE + to)


@pytest.mark.parametrize("path", ["no-such-page/", "/runs", "/", "runs/x", "static/", f"{TOKEN}/runs"])
def test_an_address_that_is_none_is_not_found_behind_the_token(site, path):
    assert site.client.get(BASE + path, follow_redirects=False).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"])
def test_nothing_but_reading_is_allowed(site, method):
    answer = site.client.request(method, BASE)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "localhost:8000", f"{HOST}.evil", ""]
)
def test_under_another_name_there_is_nothing(site, host):
    assert site.client.get(BASE, headers={"host": host}).status_code == 403


def test_one_host_and_no_more(site):
    sent = [("host", HOST), ("host", "evil.example")]
    assert site.client.get(BASE, headers=sent).status_code == 403


@pytest.mark.parametrize(
    "address", [BASE, f"http://{HOST}/", f"{BASE}no-such-page", f"{BASE}events", f"{BASE}static/explorer.css"]
)
def test_every_answer_carries_the_rules_for_the_browser(site, address):
    headers = site.client.get(address).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")


def test_a_bug_is_a_page_with_the_same_rules(site, monkeypatch):
    monkeypatch.setattr(site.source, "database", None)
    client = TestClient(Guard(site.app, TOKEN, frozenset({HOST})), base_url=BASE, raise_server_exceptions=False)
    answer = client.get(BASE)
    assert answer.status_code == 500
    assert "a bug of the explorer" in answer.text
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_only_http_is_spoken():
    async def never(*_):
        raise AssertionError

    asyncio.run(Guard(never, TOKEN, frozenset())({"type": "websocket"}, never, never))
