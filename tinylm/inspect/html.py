"""HTML in which nothing that was not meant as HTML can be: every text is escaped unless it is Markup.

    tag("p", {"class": "note"}, "a < b", tag("b", "c"))    # <p class="note">a &lt; b<b>c</b></p>

Tokens, samples, settings and names of runs are untrusted. A page loads nothing from elsewhere and runs no script, and
says so to the browser, which then refuses both.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["Markup", "escape", "page", "tag"]


class Markup(str):
    """HTML as it stands. Only `tag`, `page` and code that has escaped what is in it make one."""

    __slots__ = ()


Content: TypeAlias = "Markup | str | int | float | None"

# What would not be seen, or would change what is seen: control characters, marks that turn the direction of text,
# characters without width, halves of surrogate pairs, and what Unicode calls no character.
INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)
VOID = {"br", "hr", "img", "meta"}


def escape(text: object) -> Markup:
    """A text as HTML shows it, letter by letter; what has no shape becomes its number, as in [U+202E].

    Line breaks and tabs stay. Safe between tags and within quoted attributes.
    """
    visible = INVISIBLE.sub(lambda match: f"[U+{ord(match[0]):04X}]", str(text))
    return Markup(html.escape(visible, quote=True))


def tag(name: str, *content: Content | Mapping[str, object]) -> Markup:
    """An element. content: attributes, where the first is a mapping, then its children; None stands for nothing."""
    attributes = ""
    if content and isinstance(content[0], Mapping):
        attributes = "".join(f' {key}="{escape(value)}"' for key, value in content[0].items())
        content = content[1:]
    if name in VOID:
        return Markup(f"<{name}{attributes}>")
    inner = "".join(part if isinstance(part, Markup) else escape(part) for part in content if part is not None)
    return Markup(f"<{name}{attributes}>{inner}</{name}>")


def page(title: str, *content: Content) -> Markup:
    """A whole document, in light and dark, for wide and narrow screens."""
    policy = {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"}
    head = tag(
        "head",
        tag("meta", {"charset": "utf-8"}),
        tag("meta", policy),
        tag("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return Markup(f"<!DOCTYPE html>\n{tag('html', {'lang': 'en'}, head, tag('body', tag('main', *content)))}\n")


STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #5b6570; --line: #d9dee3; --panel: #f6f8fa;
  --series-0: #0063b1; --series-1: #c2410c; --series-2: #047857; --series-3: #a21caf; --series-4: #8a6100;
  --series-5: #0e7490; --series-6: #be123c; --series-7: #4d5761; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171a; --ink: #e6e9ec; --faint: #9aa5b0; --line: #333a41; --panel: #1c2126;
    --series-0: #58a6ff; --series-1: #ff9a5c; --series-2: #4fd1a0; --series-3: #e38bf0; --series-4: #e3b341;
    --series-5: #56c8dc; --series-6: #ff8097; --series-7: #aab4be; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
h3 { font-size: .95rem; margin: 0 0 .25rem; font-weight: 600; }
p { margin: .25rem 0; } .note { color: var(--faint); } h1 + .note { margin-bottom: 1.25rem; }
.tiles, .figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.tiles { grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
.tile, figure, .scroll, details { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; }
.tile { padding: .6rem .8rem; } .tile b { display: block; font-size: 1.35rem; font-weight: 600; }
.tile span { color: var(--faint); font-size: .85rem; }
figure { margin: 0; padding: .6rem .6rem .2rem; } figure svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: start; padding: .3rem .8rem; border-top: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; }
tr:first-child > * { border-top: 0; } th { font-weight: 600; white-space: nowrap; }
thead th { color: var(--faint); font-size: .85rem; }
details { margin: .5rem 0; } summary { cursor: pointer; padding: .5rem .8rem; }
details .scroll { border-width: 1px 0 0; border-radius: 0; }
pre { margin: 0; padding: .6rem .8rem; border-top: 1px solid var(--line); white-space: pre-wrap;
  overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace; unicode-bidi: plaintext; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-inline-end: .45em; }
bdi { unicode-bidi: isolate; }
""" + "".join(f".series-{i} {{ background: var(--series-{i}); }}\n" for i in range(8))
