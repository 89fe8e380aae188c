"""The explorer for tests: its pages and links, with checks that stored content is shown only as text."""

import re
from html.parser import HTMLParser
from itertools import chain
from urllib.parse import unquote, urlencode, urljoin

from starlette.testclient import TestClient

from inmem.ui.app import make_app
from inmem.ui.guard import Guard
from inmem.ui.jobs import Jobs
from inmem.ui.source import Source

TOKEN = "secret-token"
HOST = "127.0.0.1:8000"
BASE = f"http://{HOST}/{TOKEN}/"

# The elements written by our templates and values.py.
_ELEMENTS = frozenset(
    [
        "a",
        "b",
        "bdi",
        "body",
        "button",
        "caption",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "head",
        "header",
        "html",
        "input",
        "kbd",
        "label",
        "li",
        "link",
        "main",
        "meta",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "progress",
        "rect",
        "script",
        "section",
        "select",
        "span",
        "summary",
        "svg",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "time",
        "title",
        "tr",
        "ul",
    ]
)
_NEVER_VISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class Page(HTMLParser):
    """One page, checked while it is parsed.

    Attributes:
        text: the text that it shows.
        links: the targets of its links.
        rows: the keys of its rows, in order.
        by_id: the attributes of its elements, by id.
    """

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.text = ""
        self.links = []
        self.rows = []
        self.by_id = {}
        assert not _NEVER_VISIBLE.search(html)
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert tag in _ELEMENTS, tag
        assert "style" not in given
        assert not [name for name in given if name.startswith("on")], given
        assert (tag == "script") == ("src" in given), given
        assert tag != "script" or given["src"] == "static/explorer.js"
        if "href" in given and tag == "a":
            # Every link leads to one of our pages, whatever names it contains.
            assert re.match(r"[a-z]+\?[\w\-.~%=&+*]*$|#main$", given["href"]), given["href"]
            self.links.append(given["href"])
        if "data-key" in given:
            self.rows.append(unquote(given["data-key"]))
        if "id" in given:
            assert given["id"] not in self.by_id
            self.by_id[given["id"]] = given

    def handle_data(self, data):
        self.text += data


class Site:
    """An explorer without a socket."""

    def __init__(self, database):
        self.source = Source(database)
        self.jobs = Jobs()
        self.app = make_app(self.source, self.jobs)
        self.client = TestClient(Guard(self.app, TOKEN, frozenset({HOST})), base_url=f"http://{HOST}")

    def answer(self, page, **query):
        return self.client.get(urljoin(BASE, page) + (f"?{urlencode(query, doseq=True)}" if query else ""))

    def get(self, page, **query):
        answer = self.answer(page, **query)
        assert answer.status_code == 200, (page, query, answer.text[-500:])
        return Page(answer.text)

    def done(self, page, **query):
        """Return the page after the background jobs that it has started are done."""
        self.get(page, **query)
        self.jobs._executor.submit(int).result()  # by now everything submitted before has started
        while not all(job.is_over for job in self.jobs._jobs.values()):
            pass
        return self.get(page, **query)

    def follow(self, page, **query):
        """Return the rows of a page and of each following page."""
        rows = []
        shown = self.get(page, **query)
        while True:
            rows.append(shown.rows)
            behind = [link for link in shown.links if 'rel="next"' in _anchor(shown.html, link)]
            if not behind:
                return rows
            shown = self.get(behind[0])

    def all_rows(self, page, **query):
        """Return the rows of a page and all following pages as one list."""
        return list(chain.from_iterable(self.follow(page, **query)))

    def close(self):
        self.client.close()
        self.jobs.stop()
        self.source.close()


def _anchor(html, link):
    href = link.replace("&", "&amp;")
    return " ".join(re.findall(rf"<a [^>]*href=\"{re.escape(href)}\"[^>]*>", html))
