"""Records: every row of every format arrives once or is named with its reason."""

from __future__ import annotations

import gzip
import importlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.data import make_records, open_records
from tinylm.errors import FileFormatError, TinylmError

LABELLED = {"text": None, "label": None}
PAIRS = {"source": None, "target": None}
ROWS = [{"text": "gut, ja", "label": "pos"}, {"text": 'so "la"\nla', "label": "neg"}, {"text": "中文", "label": "pos"}]


def write(path: Path, content: str | bytes | object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(rows: list[dict[str, str]], delimiter: str = ",", end: str = "\n") -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    lines = [list(rows[0]), *([quoted(value) for value in row.values()] for row in rows)]
    return "".join(delimiter.join(line) + end for line in lines)


def as_parquet(rows: list[dict[str, object]]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'data' is not installed")
    file = io.BytesIO()
    importlib.import_module("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def reasons(records) -> list[tuple[int | None, str]]:
    return [(error.line, error.reason) for error in records.omissions.named]


FORMATS = {
    "a.csv": table(ROWS),
    "semicolons.csv": table(ROWS, ";"),
    "crlf.csv": table(ROWS, end="\r\n"),
    "bom.csv": b"\xef\xbb\xbf" + table(ROWS).encode(),
    "utf16.csv": table(ROWS).encode("utf-16"),
    "a.tsv": table(ROWS, "\t"),
    "a.json": json.dumps(ROWS),
    "data.json": json.dumps({"version": "1", "data": ROWS}),
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "a.csv.gz": gzip.compress(table(ROWS).encode()),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_records(tmp_path, name):
    records = open_records(write(tmp_path / name, FORMATS[name]), LABELLED)
    assert list(records) == ROWS
    assert records.fields == ("text", "label")
    assert records[-1] == ROWS[2]
    assert list(records[1:]) == ROWS[1:]


def test_parquet_gives_them_too_with_any_kind_of_column(tmp_path):
    rows = [{"label": at % 2, "review": f"text {at}", "more": [at]} for at in range(2000)]
    records = open_records(write(tmp_path / "a.parquet", as_parquet(rows)), LABELLED)
    assert records[1999] == {"text": "text 1999", "label": "1"}
    assert open_records(tmp_path / "a.parquet")[3] == {"label": "1", "review": "text 3", "more": [3]}


@settings(max_examples=40)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1)}
        ),
        min_size=1,
    ),
    st.sampled_from(["a.csv", "a.jsonl", "a.json", "utf16.tsv"]),
)
def test_any_text_arrives_as_it_was(tmp_path_factory, rows, name):
    rows = [{"text": f"x{row['text']}", "label": str(at)} for at, row in enumerate(rows)]
    plain = table(rows, "\t" if "tsv" in name else ",")
    content = {"a.csv": plain, "a.json": json.dumps(rows), "utf16.tsv": plain.encode("utf-16")}
    content["a.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows)
    path = write(tmp_path_factory.getbasetemp() / "any" / name, content[name])
    assert list(open_records(path, LABELLED, strict=True)) == rows


# Columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "fields", "chosen"),
    [
        ("review,sentiment", LABELLED, ("review", "sentiment")),
        ("id,Sentence 1,Sentence2,Label", {"text": "Sentence 1", "text_pair": None, "label": None}, None),
        ("v1,v2,,,", LABELLED, ("v2", "v1")),
        ("premise,hypothesis,label", {"text": None, "text_pair": None, "label": None}, None),
        ("en,de", PAIRS, ("en", "de")),
        ("article,highlights", {"text": None, "summary": None}, ("article", "highlights")),
        ("column", {"text": None}, ("column",)),
    ],
)
def test_columns_are_guessed_by_name_or_content_and_shown(tmp_path, header, fields, chosen):
    width = header.count(",") + 1
    values = [[("ham", "spam")[row % 2], f"a longer text {row}", *["z" * (row % 7)] * 3][:width] for row in range(20)]
    if not header.startswith("v1"):
        values = [[f"{value} {row} {at}" for at, value in enumerate(line)] for row, line in enumerate(values)]
    path = write(tmp_path / "a.csv", "\n".join([header, *map(",".join, values)]))
    records = open_records(path, fields)
    assert set(records.fields) == set(fields)
    if chosen:
        expected = [f"{field} from {column!r}" for field, column in zip(fields, chosen, strict=True)]
        assert all(note in records.summary() for note in expected)


def test_columns_are_chosen_over_what_would_be_guessed(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,title\nlong,1,short\n")
    assert open_records(path, {"text": "title", "label": None})[0] == {"text": "short", "label": "1"}
    with pytest.raises(FileFormatError, match=r"no column 'titel'.*did you mean 'title'"):
        open_records(path, {"text": "titel"})
    with pytest.raises(FileFormatError, match="no column for 'question' among 'text', 'label', 'title'; name it"):
        open_records(path, {"question": None})
    assert open_records(path, {"text": None, "question": None}, optional=["question"])[0] == {"text": "long"}


def test_a_table_without_a_header_is_not_robbed_of_its_first_row(tmp_path):
    path = write(tmp_path / "a.tsv", "".join(f"{'ham' if at % 3 else 'spam'}\tmessage {at}\n" for at in range(30)))
    with pytest.raises(FileFormatError, match=r"looks like data, not like names: 'spam'.*header="):
        open_records(path, LABELLED)
    records = open_records(path, LABELLED, header=["label", "text"])
    assert len(records) == 30
    assert records.labels() == {"ham": 20, "spam": 10}


def test_headers_that_are_there_twice_are_refused_and_nameless_ones_are_not(tmp_path):
    with pytest.raises(FileFormatError, match="'text' is there twice"):
        open_records(write(tmp_path / "a.csv", "text,text,label\na,b,c\n"), LABELLED)
    assert open_records(write(tmp_path / "b.csv", "text,,\na,b,c\n"))[0] == {
        "text": "a",
        "column 2": "b",
        "column 3": "c",
    }


def test_files_whose_columns_come_in_another_order_go_together(tmp_path):
    write(tmp_path / "a.csv", "text,label\na,1\n")
    write(tmp_path / "b.csv", "label,text\n1,a\n2,b\n")
    assert list(open_records(tmp_path)) == [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]


def test_files_that_do_not_go_together_are_refused(tmp_path):
    write(tmp_path / "a.csv", "text,label\na,1\n")
    write(tmp_path / "b.csv", "text\nb\n")
    with pytest.raises(FileFormatError, match=r"b.csv: has text, where the files before it have text, label"):
        open_records(tmp_path)
    with pytest.raises(FileFormatError, match="no column for 'label'"):
        open_records(tmp_path, LABELLED)


# Rows that cannot be used --------------------------------------------------------------------------------


def test_bad_rows_are_counted_and_named_by_line_with_their_reason(tmp_path):
    content = 'text,label\n"two\nlines",a\nragged\ngood,b\n,b\nno label,\nnull\0,b\n"open" quote,b\nlast,b\n'
    records = open_records(write(tmp_path / "a.csv", content), LABELLED)
    assert [record["text"] for record in records] == ["two\nlines", "good", "last"]
    assert reasons(records) == [
        (4, "a row of 1 fields, expected 2 as in the header"),
        (6, "'text' is empty"),
        (7, "'label' is empty"),
        (8, "'text' holds a NUL character: binary data, not text"),
        (9, "malformed CSV: ',' expected after '\"'"),
    ]
    assert "skipped 5 of 8 records: first at" in records.summary()
    with pytest.raises(FileFormatError, match=r"a.csv:4: a row of 1 fields"):
        open_records(tmp_path / "a.csv", LABELLED, strict=True)


def test_what_casts_doubt_on_a_file_ends_the_reading(tmp_path):
    for name, content, words in [
        ("a.csv", 'text,label\n"never ends,1\n', "ends inside a quoted field"),
        ("a.json", '{"text": "a"}', "expected a list of records"),
        ("b.json", "[{", "malformed JSON"),
        ("c.csv", "text,label\n,\n", "'text' is empty"),
        ("d.jsonl", "1\n2\n", "expected a JSON object"),
        ("e.csv", "text,label\n", "no records"),
        ("a.parquet", "PAR1 not", "not Parquet"),
        ("f.csv.gz", gzip.compress(b"text\na\n")[:-4], "cut short"),
    ]:
        if name == "a.parquet":
            pytest.importorskip("pyarrow", reason="the extra 'data' is not installed")
        with pytest.raises(TinylmError, match=words):
            open_records(write(tmp_path / name, content), LABELLED)
    with pytest.raises(TinylmError, match="no data: name"):
        open_records([])


def test_an_encoding_is_named_or_said_by_a_mark_and_never_guessed(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\nKäse,a\nBrot,b\n".encode("latin-1"))
    records = open_records(path, LABELLED)
    assert reasons(records) == [(2, "'text' is not UTF-8 text, or holds a lone surrogate")]
    assert open_records(path, LABELLED, encoding="latin-1")[0] == {"text": "Käse", "label": "a"}
    assert (
        open_records(write(tmp_path / "b.csv", "text\n中\n".encode("gb18030")), encoding="gb18030")[0]["text"] == "中"
    )
    with pytest.raises(FileFormatError, match=r"byte 7: not utf-16 text"):
        open_records(write(tmp_path / "c.csv", "tex".encode("utf-16")[:-1]), encoding="utf-16")
    with pytest.raises(TinylmError, match="unknown encoding 'klingon'"):
        open_records(path, encoding="klingon")


def test_repeats_are_left_out_and_told_unless_wanted(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,id\na,1,1\nb,1,2\na,1,3\na,2,4\n")
    records = open_records(path, LABELLED)
    assert [tuple(record.values()) for record in records] == [("a", "1"), ("b", "1"), ("a", "2")]
    assert "left out 1 of 4 records that repeat an earlier one" in records.summary()
    assert len(open_records(path, LABELLED, deduplicate=False)) == 4
    assert len(open_records(path)) == 4  # with their ids they differ


# Labels --------------------------------------------------------------------------------------------------


def test_labels_become_texts_whatever_they_were(tmp_path):
    values = [1, 2.0, True, " a ", ["x", 3], 0.5]
    rows = [{"text": f"t{at}", "label": value} for at, value in enumerate(values)]
    records = open_records(write(tmp_path / "a.json", [*rows, {"text": "t", "label": None}]), LABELLED)
    assert list(records.column("label")) == ["1", "2", "true", "a", ["x", "3"], "0.5"]
    assert reasons(records) == [(7, "'label' is null, expected text")]


def test_a_folder_for_each_label_gives_whole_files(tmp_path):
    for name, content in (
        ("pos/1.txt", "gut\nja"),
        ("pos/2.txt", "\ufeffbesser"),
        ("neg/1.txt", "nein"),
        ("neg/2.txt", b"\xe4"),
    ):
        write(tmp_path / "set" / name, content)
    records = open_records(tmp_path / "set", LABELLED)
    assert list(records) == [
        {"text": "nein", "label": "neg"}, {"text": "gut\nja", "label": "pos"}, {"text": "besser", "label": "pos"},
    ]  # fmt: skip
    assert "a folder for each of 2 labels" in records.summary()
    (error,) = records.omissions.named
    assert str(error).endswith("2.txt: 'text' is not UTF-8 text, or holds a lone surrogate")


def test_lines_of_a_text_are_records(tmp_path):
    assert list(open_records(write(tmp_path / "a.txt", "eins\r\n\n zwei\n"))) == [{"text": "eins"}, {"text": " zwei"}]


# Other tasks ---------------------------------------------------------------------------------------------

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Käse",
            "paragraphs": [
                {
                    "context": "Der Käse\r\nist rund.",
                    "qas": [
                        {"id": "1", "question": "Wie?", "answers": [{"text": "rund", "answer_start": 14}]},
                        {"id": "2", "question": "Wo?", "answers": [], "is_impossible": True},
                        {"id": "3", "question": "Was?", "answers": [{"text": "Käse", "answer_start": 5}]},
                        {"id": "4", "question": "Wer?", "answers": "Käse"},
                        "no object",
                    ],
                }
            ],
        }
    ],
}
QUESTIONS = {"question": None, "context": None, "answers": None, "starts": None}


def test_questions_of_squad_come_with_their_answers_where_they_stand(tmp_path):
    records = open_records(write(tmp_path / "a.json", SQUAD), QUESTIONS)
    assert list(records) == [
        {"question": "Wie?", "context": "Der Käse\r\nist rund.", "answers": ["rund"], "starts": [14]},
        {"question": "Wo?", "context": "Der Käse\r\nist rund.", "answers": [], "starts": []},
    ]
    assert [line for line, _ in reasons(records)] == [3, 4, 5]
    assert "the answer 'Käse' is not at 5 of the context, which has 'äse" in reasons(records)[0][1]
    flat = {"id": "1", "question": "Q?", "context": "ab", "answers": {"text": ["b"], "answer_start": [1]}}
    assert open_records(write(tmp_path / "b.jsonl", flat), QUESTIONS)[0]["starts"] == [1]


def test_questions_with_plain_answers_need_no_context(tmp_path):
    path = write(tmp_path / "a.csv", "Question,Answer\nWer?,Ich\n")
    assert open_records(path, QUESTIONS, optional=["context", "starts"])[0] == {"question": "Wer?", "answers": ["Ich"]}


CONVERSATION = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "u"},
    {"role": "assistant", "content": "a"},
]


def test_conversations_become_messages_from_every_form(tmp_path):
    pytest.importorskip("yaml", reason="the extra 'data' is not installed")
    sharegpt = [{"from": role, "value": text} for role, text in (("system", "s"), ("human", "u"), ("gpt", "a"))]
    for name, content in {
        "a.jsonl": {"messages": CONVERSATION},
        "b.jsonl": {"id": 1, "conversations": sharegpt},
        "c.json": [{"conversations": sharegpt}],
    }.items():
        assert open_records(write(tmp_path / name, content), {"messages": None})[0]["messages"] == CONVERSATION
    bad = [[], [{"role": "user", "content": "u"}], [{"role": "king", "content": ""}], [{"role": "user"}], [5], "text"]
    lines = "".join(json.dumps({"messages": value}) + "\n" for value in [CONVERSATION, *bad])
    records = open_records(write(tmp_path / "d.jsonl", lines), {"messages": None})
    assert len(records) == 1
    for (_, reason), words in zip(
        reasons(records), ["a list", "no message of", "'king'", "None", "5", "a list"], strict=True
    ):
        assert words in reason
    yml = "categories:\n- x\nconversations:\n- - Is it?\n  - No\n- - Hi\n  - a: b\n- - Alone\n"
    records = open_records(write(tmp_path / "e.yml", yml), {"messages": None})
    assert records[0]["messages"] == [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "No"}]
    assert len(records.omissions.named) == 2
    for content in ("a: [", "- 1", "a: b", "[" * 1200):
        with pytest.raises(FileFormatError):
            open_records(write(tmp_path / "f.yml", content), {"messages": None})


def test_parallel_texts_are_paired_line_by_line_or_refused(tmp_path):
    one = write(tmp_path / "a.en", "Open\nClose\n\nlast")
    two = write(tmp_path / "a.de.gz", gzip.compress("Öffnen\r\nSchließen\nleer\nLetzte\n".encode()))
    records = open_records([one, two], PAIRS)
    assert records[0] == {"source": "Open", "target": "Öffnen"}
    assert reasons(records) == [(3, "'source' is empty")]
    assert "source from a.en, target from a.de.gz" in records.summary()
    with pytest.raises(FileFormatError, match=r"a.fr: has fewer lines than a.en"):
        open_records([one, write(tmp_path / "a.fr", "Ouvrir\n")], PAIRS)


PO = """
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Open"
msgstr "Öffnen"

#, fuzzy
msgid "Close"
msgstr "Klose"

msgid "Save"
msgstr ""

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

#~ msgid "Old"
#~ msgstr "Alt"
"""


def test_catalogues_give_what_was_translated_and_checked(tmp_path):
    polib = pytest.importorskip("polib", reason="the extra 'data' is not installed")
    path = write(tmp_path / "a.po", PO)
    records = open_records(path, PAIRS)
    assert list(records) == [{"source": "Open", "target": "Öffnen"}]
    assert [reason.split()[-1] for _, reason in reasons(records)] == ["checked", "translated", "plural", "use"]
    polib.pofile(str(path)).save_as_mofile(str(tmp_path / "a.mo"))
    assert {"source": "Open", "target": "Öffnen"} in list(open_records(tmp_path / "a.mo", PAIRS))
    for name in ("b.po", "b.mo"):
        with pytest.raises(FileFormatError, match="not a gettext catalogue"):
            open_records(write(tmp_path / name, "neither nor\n"), PAIRS)


def test_records_of_a_program_follow_the_same_rules():
    assert list(make_records(ROWS, LABELLED)) == ROWS
    assert make_records(ROWS, {"text": None}, name="mine").summary().startswith("mine: 3 records of text")
    with pytest.raises(TinylmError, match="records:2: 'text' is empty"):
        make_records([{"text": "a"}, {"text": " "}])
    with pytest.raises(TinylmError, match="no records"):
        make_records([])


@pytest.mark.parametrize(("package", "name", "content"), [("yaml", "a.yml", "a: b"), ("polib", "a.po", 'msgid ""')])
def test_a_missing_extra_is_named_with_what_brings_it(tmp_path, monkeypatch, package, name, content):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(TinylmError, match=rf'{package}: pip install "tinylm\[data\]"'):
        open_records(write(tmp_path / name, content))
