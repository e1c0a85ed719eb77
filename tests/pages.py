"""Pages of HTML, as tests read them."""

from html.parser import HTMLParser

VOID = {"img", "meta", "link", "wbr"}


class Page(HTMLParser):
    """A page as its elements: each with its name, attributes and text; it must be well formed."""

    def __init__(self, source: bytes) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.feed(source.decode())
        assert not self.open, f"never closed: {self.open[-1]}"

    def handle_starttag(self, tag, attrs):
        element = {
            "tag": tag,
            "text": "",
            "inside": [one["id"] for one in self.open if one.get("id")],
            **dict(attrs),
        }
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, section=None, **attributes):
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and (section is None or section in element["inside"])
            and all(element.get(key) == value for key, value in attributes.items())
        ]
