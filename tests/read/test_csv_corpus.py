"""Files like those that other projects test CSV readers with: every row is read or reported.

Each case imitates a kind of file in the public corpus that it is named after. The header row is
kept apart from the rows below it, so that laws can be checked over the whole table.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from filetap.columns.added import ADDED
from filetap.errors import FormatError
from filetap.read.batch import ReadOptions
from filetap.read.csv_fast import CSVReader
from filetap.settings import BLOCK
from tests.runs import run, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tap_firstup_dde.emulator import Emulator
    from tests.runs import Run

Cells = tuple[str | None, ...]
BOM = "\ufeff"
SHORT, LONG = "1 cells instead of 2", "3 cells instead of 2"
AFTER, OPEN = "text follows a closing quote", "a quote is never closed"
BYTES = "bytes that are not UTF-8 in cell"


@dataclass(frozen=True)
class Bad:
    """A row that cannot be read.

    Attributes:
        raw: Its text, verbatim.
        reason: What is wrong with it.
    """

    raw: str
    reason: str


@dataclass(frozen=True)
class Case:
    """A file and the rows expected from it.

    Attributes:
        name: The corpus it is known from, and its kind.
        body: What follows the header row.
        want: Its rows in order; null is an unquoted empty cell.
        head: The header row, with what stands before it.
        columns: The columns' names.
        block: Bytes parsed at a time where that is to be few.
    """

    name: str
    body: str | bytes
    want: Sequence[Cells | Bad]
    head: str = "a,b\n"
    columns: str = "a b"
    block: int = 16

    @property
    def data(self) -> bytes:
        """The whole file."""
        return self.head.encode() + self.rest

    @property
    def rest(self) -> bytes:
        """The bytes after the header row."""
        return self.body.encode() if isinstance(self.body, str) else self.body

    @property
    def first_bad(self) -> int:
        """The number of the first row that cannot be read; 0 if there is none."""
        return next((n for n, row in enumerate(self.want, 1) if isinstance(row, Bad)), 0)


def one(name: str, body: str, *want: str | Bad) -> Case:
    """A file of a single column."""
    rows = [row if isinstance(row, Bad) else (row,) for row in want]
    return Case(name, body, rows, "a\n", "a")


HUGE = ("x" * 98 + ",\n") * 100_000
REJECTS: list[Cells | Bad] = [("1", "2"), Bad("3", SHORT), Bad('"4"x', AFTER)]

CASES = [
    # csv-spectrum: every file of it
    Case(
        "csv-spectrum/comma-in-quotes",
        'Ada,"7 Mill Lane","Ghent, OV",09000\n',
        [("Ada", "7 Mill Lane", "Ghent, OV", "09000")],
        "first,address,city,zip\n",
        "first address city zip",
    ),
    Case("csv-spectrum/empty", '1,""\n"",\n,2\n', [("1", ""), ("", None), (None, "2")]),
    Case("csv-spectrum/empty-crlf", '1,""\r\n"",\r\n', [("1", ""), ("", None)], "a,b\r\n"),
    Case(
        "csv-spectrum/escaped-quotes",
        '1,"he ""said"" so"\n3,4\n',
        [("1", 'he "said" so'), ("3", "4")],
    ),
    Case(
        "csv-spectrum/json",
        '1,"{""kind"": ""Point"", ""at"": [4.3, 50.8]}"\n',
        [("1", '{"kind": "Point", "at": [4.3, 50.8]}')],
    ),
    Case(
        "csv-spectrum/coordinates",
        "0470,50\N{DEGREE SIGN}50'12.5\"N 4\N{DEGREE SIGN}21'9.1\"E\n",
        [("0470", "50\N{DEGREE SIGN}50'12.5\"N 4\N{DEGREE SIGN}21'9.1\"E")],
    ),
    Case("csv-spectrum/newlines", '1,"Once\nupon"\n"\n",4\n', [("1", "Once\nupon"), ("\n", "4")]),
    Case(
        "csv-spectrum/newlines-crlf",
        '1,"Once\r\nupon"\r\n3,4\r\n',
        [("1", "Once\r\nupon"), ("3", "4")],
        "a,b\r\n",
    ),
    Case(
        "csv-spectrum/quotes-and-newlines",
        '1,"x \n""y"" \nz"\n3,"""\n"""\n',
        [("1", 'x \n"y" \nz'), ("3", '"\n"')],
    ),
    Case("csv-spectrum/simple", "1,2\n", [("1", "2")]),
    Case("csv-spectrum/simple-crlf", "1,2\r\n", [("1", "2")], "a,b\r\n"),
    Case("csv-spectrum/utf8", "1,\u02a4\n\u0416,\u540d\n", [("1", "\u02a4"), ("\u0416", "\u540d")]),
    Case(
        "csv-spectrum/latin1",
        b"1,caf\xe9\n2,plain\n\xe9t\xe9,3\n",
        [
            Bad("1,caf\\xe9", f"{BYTES} 2 (unexpected end of data)"),
            ("2", "plain"),
            Bad("\\xe9t\\xe9,3", f"{BYTES} 1 (invalid continuation byte)"),
        ],
    ),
    Case("csv-spectrum/newlines-cr", '1,2\r"x\ry",4\r', [("1", "2"), ("x\ry", "4")], "a,b\r"),
    Case("csv-spectrum/null", '1,NULL\n"NULL",\n', [("1", "NULL"), ("NULL", None)]),
    # RFC 4180, rule by rule where a rule is not a case above
    Case("rfc4180/no-final-line-end", "1,2\nzzz,yyy", [("1", "2"), ("zzz", "yyy")]),
    Case(
        "rfc4180/all-quoted",
        '"1","x""y"\r\n"2","u\r\nv"\r\n',
        [("1", 'x"y'), ("2", "u\r\nv")],
        '"a","b"\r\n',
    ),
    Case("rfc4180/blanks-are-text", " 1 ,\t2\t\n  ,x \n", [(" 1 ", "\t2\t"), ("  ", "x ")]),
    # csvkit's examples
    Case(
        "csvkit/bad",
        "1,2\n3,4,5\n6\n7,8\n",
        [("1", "2"), Bad("3,4,5", LONG), Bad("6", SHORT), ("7", "8")],
    ),
    Case(
        "csvkit/preamble",
        "for,May\nid\n1\n",
        [Bad("for,May", "2 cells instead of 1"), ("id",), ("1",)],
        "\nReport\n\n",
        "report",
    ),
    Case("csvkit/null-byte", '1,x\0y\n"\0",4\n', [("1", "x\0y"), ("\0", "4")]),
    Case("csvkit/header-newline", "1,2\n", [("1", "2")], '"first\nname","b\r\n"\n', "first_name b"),
    Case(
        "csvkit/empty-columns",
        "1,,\n,2,\n",
        [("1", None, None), (None, "2", None)],
        "a,,\n",
        "a column_2 column_3",
    ),
    Case("csvkit/utf8-bom", "1,2\n", [("1", "2")], f"{BOM}a,b\n"),
    Case(
        "csvkit/blanks",
        "NA,N/A\nnone,.\nnull,-\nnan,#N/A\n",
        [("NA", "N/A"), ("none", "."), ("null", "-"), ("nan", "#N/A")],
    ),
    Case(
        "csvkit/locale",
        '1,"1,234,567"\n2,1,234,567\n3,1.234\n',
        [("1", "1,234,567"), Bad("2,1,234,567", "4 cells instead of 2"), ("3", "1.234")],
    ),
    Case("csvkit/no-leading-zeroes", ".5,-.25\n5.,00\n", [(".5", "-.25"), ("5.", "00")]),
    # CleverCSV's parser tests: other readers join what stands between such quotes
    one("clevercsv/quotes-across-lines", 'x"y\ny"z\n', 'x"y', 'y"z'),
    Case("clevercsv/comma-before-cr", "1,\r2,3", [("1", None), ("2", "3")]),
    Case(
        "clevercsv/mixed-line-ends",
        "1,2\r3,4\n\r5,6\r\n7,8\n",
        [("1", "2"), ("3", "4"), ("5", "6"), ("7", "8")],
        "\r\na,b\r\n",
    ),
    Case("clevercsv/quote-mismatch", '1,"2,3\n4,5\n', [Bad('1,"2,3', OPEN), ("4", "5")]),
    Case("clevercsv/text-after-quote", '1,"ab"c\n4,5\n', [Bad('1,"ab"c', AFTER), ("4", "5")]),
    Case(
        "clevercsv/semicolon",
        'Zoe;1,50\n"Ann;B";"2;"\n1;2;3\n1,2\n',
        [("Zoe", "1,50"), ("Ann;B", "2;"), Bad("1;2;3", LONG), Bad("1,2", SHORT)],
        "a;b\n",
    ),
    Case("clevercsv/tab", '1, 2\t"\t"\n \t\n', [("1, 2", "\t"), (" ", None)], "a\tb\n"),
    Case("clevercsv/pipe", '1|"|"\n|\n', [("1", "|"), (None, None)], "a|b\n"),
    Case("clevercsv/two-pipes", "1||2\n", [("1", None, "2")], "a||b\n", "a column_2 b"),
    Case("clevercsv/spaces", "1 2\n3  4\n", [("1 2",), ("3  4",)], "a b\n", "a_b"),
    # Papa Parse's core tests
    Case("papaparse/quotes-by-comma", '1,","""\n",""",2\n', [("1", ',"'), (',"', "2")]),
    Case("papaparse/five-quotes", '1,"n="""",c="""""\n', [("1", 'n="",c=""')]),
    Case(
        "papaparse/space-round-quotes",
        '1, "x" \n2, "x,y"\n"y",z\n',
        [("1", ' "x" '), Bad('2, "x,y"', LONG), ("y", "z")],
    ),
    Case(
        "papaparse/space-after-quote",
        '1,"x" \n"y" ,2\n',
        [Bad('1,"x" ', AFTER), Bad('"y" ,2', AFTER)],
    ),
    Case(
        "papaparse/quote-in-quotes",
        '"x,"y,z"\n1,"2,"\n3,4\n',
        [Bad('"x,"y,z"', AFTER), ("1", "2,"), ("3", "4")],
    ),
    Case(
        "papaparse/comments",
        "# one\n1,2\n# one, two\n#\n",
        [Bad("# one", SHORT), ("1", "2"), ("# one", " two"), Bad("#", SHORT)],
    ),
    Case(
        "papaparse/comment-before-header",
        "a,b\n1,2\n",
        [Bad("a,b", "2 cells instead of 1"), Bad("1,2", "2 cells instead of 1")],
        "# by hand\n",
        "by_hand",
    ),
    Case(
        "papaparse/line-of-blanks",
        "1,2\n \n\t\n\u00a0\n3,4\n",
        [("1", "2"), Bad(" ", SHORT), Bad("\t", SHORT), Bad("\u00a0", SHORT), ("3", "4")],
    ),
    Case("papaparse/only-commas", ",\n,,\n,", [(None, None), Bad(",,", LONG), (None, None)]),
    Case("papaparse/single-quotes", "1,'x'\n2,'x,y'\n", [("1", "'x'"), Bad("2,'x,y'", LONG)]),
    Case("papaparse/header-only-crlf", "", [], "A,b\r\n"),
    Case("papaparse/header-only-no-end", "", [], "A, b "),
    Case(
        "papaparse/blank-lines",
        "\r\n1,2\r\n\r\n\r\n3,4\r\n\r\n",
        [("1", "2"), ("3", "4")],
        "\r\n\r\na,b\r\n",
    ),
    # pandas' parser tests
    Case("pandas/index-column", "x,1,2\ny,3,4\n", [Bad("x,1,2", LONG), Bad("y,3,4", LONG)]),
    Case("pandas/trailing-commas", "1,2,\n3,4,", [Bad("1,2,", LONG), Bad("3,4,", LONG)]),
    Case(
        "pandas/trailing-commas-in-header-too",
        "1,2,\n",
        [("1", "2", None)],
        "a,b,\n",
        "a b column_3",
    ),
    Case(
        "pandas/trailing-comma-in-header-only",
        "1,2\n3,4,\n",
        [Bad("1,2", "2 cells instead of 3"), ("3", "4", None)],
        "a,b,\n",
        "a b column_3",
    ),
    Case(
        "pandas/cr-and-space",
        "1,2\n4\r X,6\n7,8\r 9\n",
        [("1", "2"), Bad("4", SHORT), (" X", "6"), ("7", "8"), Bad(" 9", SHORT)],
    ),
    Case("pandas/sub-at-end", "1,\x1a\n3,4\n\x1a", [("1", "\x1a"), ("3", "4"), Bad("\x1a", SHORT)]),
    Case(
        "pandas/duplicate-names",
        "1,2,3,4\n",
        [("1", "2", "3", "4")],
        "a,a,a_2,A\n",
        "a a_2 a_2_2 a_3",
    ),
    one(
        "pandas/bad-lines",
        "1\n1,2\n4\n,\n",
        "1",
        Bad("1,2", "2 cells instead of 1"),
        "4",
        Bad(",", "2 cells instead of 1"),
    ),
    Case("pandas/nul-first", "\0,foo\n", [("\0", "foo")]),
    Case("pandas/bom-and-quotes", "1\t2\n", [("1", "2")], f'{BOM}"a"\t"b"\n'),
    Case("pandas/grow-boundary", "", [], "," * 96, " ".join(f"column_{n}" for n in range(1, 98))),
    Case("pandas/repeated-header", "1,2\na,b\n3,4\n", [("1", "2"), ("a", "b"), ("3", "4")]),
    Case(
        "pandas/wider-table-below",
        "1,2\na,b,c\n3,4,5\n",
        [("1", "2"), Bad("a,b,c", LONG), Bad("3,4,5", LONG)],
    ),
    Case(
        "pandas/backslashes",
        '"SLAB, \\"B\\", big",1\n"x\\",2\n\\,3\n',
        [Bad('"SLAB, \\"B\\", big",1', AFTER), ("x\\", "2"), ("\\", "3")],
    ),
    # polars' tests and issues
    Case("polars/quote-far-right", 'v,abc"\nw,random\n', [("v", 'abc"'), ("w", "random")]),
    Case(
        "polars/unclosed-at-end", '"0","0"\n"1","2', [("0", "0"), Bad('"1","2', OPEN)], '"a","b"\n'
    ),
    one(
        "polars/unclosed-in-middle",
        '"x"\n"y, 1\n"z"\n"',
        "x",
        Bad('"y, 1', AFTER),
        "z",
        Bad('"', OPEN),
    ),
    one("polars/brackets", '"a"#["b"]\n[1]\n', Bad('"a"#["b"]', AFTER), "[1]"),
    Case("polars/newline-at-cell-edges", '"\nx","y\n"\n1,"\n"', [("\nx", "y\n"), ("1", "\n")]),
    Case(
        "polars/emoji",
        "\U0001f600,\U0001f469\u200d\U0001f680\n",
        [("\U0001f600", "\U0001f469\u200d\U0001f680")],
    ),
    Case("polars/null-values", "na,\\N\n(null),\n", [("na", "\\N"), ("(null)", None)]),
    Case("polars/text-like-zlib", "x^y is,1\n3,4\n", [("x^y is", "1"), ("3", "4")]),
    Case("polars/text-like-empty-zlib", "x^,1\n", [("x^", "1")]),
    Case("polars/arabic-like-zlib", "x\u0680,1\n", [("x\u0680", "1")]),
    Case(
        "polars/bytes-like-gzip",
        b"\x1f\x8b\x08,2\n3,4\n",
        [Bad("\x1f\\x8b\x08,2", f"{BYTES} 1 (invalid start byte)"), ("3", "4")],
    ),
    Case(
        "polars/bytes-like-zstd",
        b"(\xb5/\xfd,2\n3,4\n",
        [Bad("(\\xb5/\\xfd,2", f"{BYTES} 1 (invalid start byte)"), ("3", "4")],
    ),
    # DuckDB's data/csv and its tests of rejected rows
    Case(
        "duckdb/unquoted-value",
        '"bl"bla,4\nbla,2\n1,"bla"bl\n',
        [Bad('"bl"bla,4', AFTER), ("bla", "2"), Bad('1,"bla"bl', AFTER)],
    ),
    Case(
        "duckdb/unquoted-value-after-newline",
        'u,1\n"bla\n\n"bla,4\nv,2\n',
        [("u", "1"), Bad('"bla', AFTER), Bad('"bla,4', OPEN), ("v", "2")],
    ),
    Case(
        "duckdb/invalid-utf8-after-quoted-newline",
        b'1,"x\n\xff"\n2,y\n',
        [Bad('1,"x\n\\xff"', f"{BYTES} 2 (invalid start byte)"), ("2", "y")],
    ),
    Case(
        "duckdb/two-errors-in-a-row",
        b'\xff,2,3\n"\xff"x,2\n',
        [Bad("\\xff,2,3", LONG), Bad('"\\xff"x,2', AFTER)],
    ),
    Case(
        "duckdb/overlong-surrogate-beyond",
        b"1,\xc0\xaf\n2,\xed\xa0\x80\n3,\xf4\x90\x80\x80\n4,\xf4\x8f\xbf\xbf\n",
        [
            Bad("1,\\xc0\\xaf", f"{BYTES} 2 (invalid start byte)"),
            Bad("2,\\xed\\xa0\\x80", f"{BYTES} 2 (invalid continuation byte)"),
            Bad("3,\\xf4\\x90\\x80\\x80", f"{BYTES} 2 (invalid continuation byte)"),
            ("4", "\U0010ffff"),
        ],
    ),
    Case(
        "duckdb/utf8-cut-off-at-end",
        b"1,\xe2\x82\xac\n3,\xe2\x82",
        [("1", "\u20ac"), Bad("3,\\xe2\\x82", f"{BYTES} 2 (unexpected end of data)")],
    ),
    Case("duckdb/crcrlf", "1,2\r\r\n3,4\r\r\n", [("1", "2"), ("3", "4")], "a,b\r\r\n"),
    Case(
        "duckdb/many-empty-lines", "\n" * 99 + "1,2" + "\n" * 99, [("1", "2")], "\n" * 99 + "a,b\n"
    ),
    one("duckdb/one-column-blank-lines", '1\n\n""\n\n\n2\n\n', "1", "", "2"),
    one("duckdb/one-column-of-empties", '""\n\n""\n', "", ""),
    Case("duckdb/header-collision", "1,2,3\n", [("1", "2", "3")], "id,ID,Id \n", "id id_2 id_3"),
    Case(
        "duckdb/normalized-names",
        "1,2,3,4,5,6,7\n",
        [("1", "2", "3", "4", "5", "6", "7")],
        "1st Name,Gr\u00f6\u00dfe (cm),\u0418\u043c\u044f,a.b-c,__x__,%,\u540d\u524d\n",
        "_1st_name gr\u00f6\u00dfe_cm \u0438\u043c\u044f a_b_c x column_6 \u540d\u524d",
    ),
    Case(
        "duckdb/reserved-names",
        "1,2,3,4\n",
        [("1", "2", "3", "4")],
        "Generated At,_sdc_source_file,generated_at_2,a__text\n",
        "generated_at_2 sdc_source_file generated_at_2_2 a_text",
    ),
    # An accent of its own is no letter.
    Case("duckdb/nfc", "1,2\n", [("1", "2")], "e\u0301tat,\u00e9tat\n", "\u00e9tat \u00e9tat_2"),
    Case("duckdb/double-quoted-header", "1,2\n", [("1", "2")], '"say ""a""","b, c"\n', "say_a b_c"),
    # Nothing shows that a file has no header row: its first row names the columns.
    Case("duckdb/no-header", "3,4\n", [("3", "4")], "1,2\n", "_1 _2"),
    Case("duckdb/names-of-blanks", "1,2\n", [("1", "2")], ' ,""\n', "column_1 column_2"),
    one("duckdb/lone-quote", '"', Bad('"', OPEN)),
    Case(
        "duckdb/unclosed-first-row",
        '"1,2\n' + "3,4\n" * 50,
        [Bad('"1,2', OPEN), *[("3", "4")] * 50],
    ),
    Case("duckdb/quote-spans-rows", '1,"x\n2,y\n3,"\n4,z\n', [("1", "x\n2,y\n3,"), ("4", "z")]),
    # Ruby's csv
    Case(
        "ruby/mixture",
        'Two Dozen,24, 12 ,,"2,400","it\'s ""two"", love",24K\n',
        [("Two Dozen", "24", " 12 ", None, "2,400", 'it\'s "two", love', "24K")],
        "a,b,c,d,e,f,g\n",
        "a b c d e f g",
    ),
    Case(
        "ruby/quote-and-newline",
        '"""\n","""\r"\n1,"""\nb\n"""\n',
        [('"\n', '"\r'), ("1", '"\nb\n"')],
    ),
    Case(
        "ruby/line-ends-in-quotes",
        '"\r\n\r","\r\n\n"\n"\r.\n",1\n',
        [("\r\n\r", "\r\n\n"), ("\r.\n", "1")],
    ),
    Case("ruby/quoted-quote", '"""",""\n"",""""\n', [('"', ""), ("", '"')]),
    Case("ruby/doubled-outside", '1,""b""\n2,b""\n', [Bad('1,""b""', AFTER), ("2", 'b""')]),
    Case("ruby/inches", '4,8\'10"\n5",6\n', [("4", "8'10\""), ('5"', "6")]),
    Case("ruby/cr-in-cell", "1,some\rjunk\n2,b\n", [("1", "some"), Bad("junk", SHORT), ("2", "b")]),
    Case(
        "ruby/quotes-round-comma",
        '1,x "y, or z",2\n',
        [Bad('1,x "y, or z",2', "4 cells instead of 2")],
    ),
    # Go's encoding/csv
    Case("go/hash-in-header", "#1,2\n", [("#1", "2")], "#a,b\n"),
    Case("go/trailing-cr", "1,2\r", [("1", "2")]),
    one("go/even-and-odd-quotes", '""""""""\n"""""""', '"""', Bad('"""""""', OPEN)),
    Case("go/unclosed-and-blank-line", '1,2\n"d\n\n,e', [("1", "2"), Bad('"d', OPEN), (None, "e")]),
    Case(
        "go/grid-of-empties",
        'x,y\nx,\n,y\n,\n"x","y"\n"x",""\n"","y"\n"",""\n',
        [
            ("x", "y"),
            ("x", None),
            (None, "y"),
            (None, None),
            ("x", "y"),
            ("x", ""),
            ("", "y"),
            ("", ""),
        ],
    ),
    Case(
        "go/binary-cell",
        b"x09\x41\xb4\x1c,town\n1,2\n",
        [Bad("x09A\\xb4\x1c,town", f"{BYTES} 1 (invalid start byte)"), ("1", "2")],
    ),
    # The Rust csv crate
    Case(
        "rust/bom-in-cells",
        f"1,{BOM}2\n{BOM}3,4{BOM}\n",
        [("1", f"{BOM}2"), (f"{BOM}3", f"4{BOM}")],
    ),
    Case("rust/bom-alone", "", [], BOM, ""),
    Case("rust/bom-before-blank-lines", "1,2\n", [("1", "2")], f"{BOM}\r\n\na,b\n"),
    Case("rust/no-escapes", '"a\\"b",2\n3,4\n', [Bad('"a\\"b",2', AFTER), ("3", "4")]),
    Case("rust/empty", "", [], "", ""),
    Case("rust/empty-lines-mixed", "", [], "\r\n\n\r\n\r\r\n", ""),
    Case("rust/empty-lines-cr", "\r1,2\r\r\r3,4\r", [("1", "2"), ("3", "4")], "\r\ra,b\r"),
    # univocity's tests of unescaped quotes
    Case(
        "univocity/unescaped-quotes",
        '1,"b c" d\n"e,f",",g"\n7,"TV 29"LED"\n',
        [Bad('1,"b c" d', AFTER), ("e,f", ",g"), Bad('7,"TV 29"LED"', AFTER)],
    ),
    Case(
        "univocity/line-ends-kept",
        '1," A \r\n B \r C \n D \n\r "\r\n2,"\r"\r\n',
        [("1", " A \r\n B \r C \n D \n\r "), ("2", "\r")],
        "a,b\r\n",
    ),
    Case("univocity/european", '"1.234,5";"x"\n7;\n', [("1.234,5", "x"), ("7", None)], "a;b\n"),
    # Redshift's UNLOAD: as CSV, and with the options that are not CSV's
    Case("redshift/null-and-empty", '1,\n2,""\n,t\n', [("1", None), ("2", ""), (None, "t")]),
    Case(
        "redshift/numbers-and-times",
        "1.10,2026-05-14 16:00:00\n1e+06,2026-05-14 16:00:00.25+00\n-0,f\n",
        [("1.10", "2026-05-14 16:00:00"), ("1e+06", "2026-05-14 16:00:00.25+00"), ("-0", "f")],
    ),
    Case(
        "redshift/escape",
        "x\\|y|2\n1|x\\\ny\n3|\\\\\n",
        [Bad("x\\|y|2", LONG), ("1", "x\\"), Bad("y", SHORT), ("3", "\\\\")],
        "a|b\n",
    ),
    Case(
        "redshift/addquotes-escape",
        '"1"|"say \\"hi\\""\n"2"|"\\""\n"3"|"x"\n',
        [Bad('"1"|"say \\"hi\\""', AFTER), Bad('"2"|"\\""', AFTER), ("3", "x")],
        '"a"|"b"\n',
    ),
    Case(
        "redshift/parts-in-one",
        f"1,2\n{BOM}a,b\n3,4\n",
        [("1", "2"), (f"{BOM}a", "b"), ("3", "4")],
        f"{BOM}a,b\n",
    ),
    Case(
        "redshift/quoted-parts-in-one",
        f'1,2\n{BOM}"a","b"\n{BOM}"c,d",4\n',
        [("1", "2"), (f'{BOM}"a"', "b"), Bad(f'{BOM}"c,d",4', LONG)],
        f'{BOM}"a","b"\n',
    ),
    # Spreadsheets
    Case(
        "excel/formulas",
        '=1+1,@SUM(A1)\n+1,-2+3\n="007","=HYPERLINK(""x"")"\n',
        [("=1+1", "@SUM(A1)"), ("+1", "-2+3"), ('="007"', '=HYPERLINK("x")')],
    ),
    Case("excel/quoted-numbers", '"1","2.50"\n"007","1,5"\n', [("1", "2.50"), ("007", "1,5")]),
    # The Big List of Naughty Strings
    Case(
        "naughty/no-line-ends",
        "1,\u2028\u2029\n\u0085\x0b,\x0c\x1c\x1d\x1e\x1f\n",
        [("1", "\u2028\u2029"), ("\u0085\x0b", "\x0c\x1c\x1d\x1e\x1f")],
    ),
    Case(
        "naughty/invisible",
        "\u200b\u200d,\u202eabc\u202c\n\u00ad\u2060,\u0627\u0644\n",
        [("\u200b\u200d", "\u202eabc\u202c"), ("\u00ad\u2060", "\u0627\u0644")],
    ),
    Case("naughty/terminal", "\x1b[31mred,\x07\x08\x7f\n", [("\x1b[31mred", "\x07\x08\x7f")]),
    Case(
        "naughty/sql",
        "1,'); DROP TABLE users;--\n2,${x} %s {}\n",
        [("1", "'); DROP TABLE users;--"), ("2", "${x} %s {}")],
    ),
    # Size
    Case(
        "duckdb/wide",
        ",".join(map(str, range(5000))) + "\n" + "," * 4999 + "\n" + "," * 5000 + "\n",
        [
            tuple(map(str, range(5000))),
            (None,) * 5000,
            Bad("," * 5000, "5001 cells instead of 5000"),
        ],
        ",".join(f"C {n}" for n in range(5000)) + "\n",
        " ".join(f"c_{n}" for n in range(5000)),
        1 << 12,
    ),
    Case(
        "go/huge-cells",
        f'1,2\n"{HUGE}",{HUGE[:1] * 5000}\n""{HUGE[:1] * 999}\n',
        [("1", "2"), (HUGE, "x" * 5000), Bad('""' + "x" * 999, AFTER)],
        block=1 << 16,
    ),
    Case(
        "duckdb/early-out",
        "12,34\n" * 100_000 + "5\n",
        [*[("12", "34")] * 100_000, Bad("5", SHORT)],
        block=1 << 14,
    ),
    Case(
        "duckdb/many-rejects",
        '1,2\n3\n"4"x\n' * 2000,
        REJECTS * 2000,
        block=1 << 10,
    ),
]
NAMED = {case.name: case for case in CASES}


BLOCKS = [
    pytest.param(case, block, id=f"{case.name}-{block}")
    for case in CASES
    for block in (case.block, BLOCK)
]


def reader(data: bytes, block: int, *, divert: bool) -> CSVReader:
    """A reader of a file that arrives in pieces of a block's size."""
    pieces = (data[at : at + block] for at in range(0, len(data), block))
    return CSVReader(pieces, "users 000.csv", ReadOptions(ADDED, block=block, divert=divert))


def rows_by_number(batches: CSVReader) -> Iterator[tuple[int, Cells | Bad]]:
    """Each row with its number, batch by batch."""
    for batch in batches:
        yield from zip(batch.numbers, batch.frame.rows(), strict=True)
        yield from ((row.number, Bad(row.raw or "", row.reason)) for row in batch.malformed)


@pytest.mark.parametrize(("case", "block"), BLOCKS)
def test_divert(case: Case, block: int) -> None:
    """Every row is read, or diverted verbatim with the reason, and nothing is lost.

    If every row can be read, the rows are those of Python's csv module.
    """
    batches = reader(case.data, block, divert=True)
    found = sorted(rows_by_number(batches), key=lambda pair: pair[0])
    assert batches.columns == case.columns.split()
    assert found == list(enumerate(case.want, 1))
    rows = as_text(row for _, row in found)
    text = "".join(row.raw if isinstance(row, Bad) else "".join(row) for row in rows)
    assert bare(case.rest.decode(errors="backslashreplace")) == bare(text)
    if not case.first_bad:
        assert rows == as_python_reads(case)


@pytest.mark.parametrize(("case", "block"), BLOCKS)
def test_fail(case: Case, block: int) -> None:
    """The first row that cannot be read ends the reading: file, number and reason are named."""
    batches = reader(case.data, block, divert=False)
    found: list[tuple[int, Cells | Bad]] = []
    assert batches.columns == case.columns.split()
    if number := case.first_bad:
        with pytest.raises(FormatError) as caught:
            found.extend(rows_by_number(batches))
        bad = case.want[number - 1]
        assert isinstance(bad, Bad)
        assert caught.value.message == f"users 000.csv: row {number}: {bad.reason}"
        assert len(found) < number
        assert found == list(enumerate(case.want[: len(found)], 1))
    else:
        found.extend(rows_by_number(batches))
        assert found == list(enumerate(case.want, 1))


def bare(text: str) -> str:
    """A text without separators, quotes and line ends."""
    return re.sub('[",|;\t\r\n]', "", text)


def as_python_reads(case: Case) -> list[list[str]]:
    """A file's rows as Python's csv module reads them, without blank lines."""
    separator = next((mark for mark in ",|\t;" if mark in case.head), ",")
    lines = io.StringIO(case.rest.decode(), newline="")
    limit = csv.field_size_limit(1 << 24)
    rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    csv.field_size_limit(limit)
    return rows


def as_text(rows: Iterable[Cells | Bad]) -> list[list[str] | Bad]:
    """Rows with empty texts for null."""
    return [row if isinstance(row, Bad) else [c or "" for c in row] for row in rows]


def zipped(name: str) -> bytes:
    """A zip archive of one file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name, "a,b\n1,2\n")
    return archive.getvalue()


def tarred() -> bytes:
    """A tar archive of one file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("000.csv"))
    return archive.getvalue()


TEXT = "a,b\n1,2\n"
UTF8 = "header row cannot be read: bytes that are not UTF-8"
CONTROL = "header row cannot be read: control characters"
ZIP, JSON = "zip archive or a workbook, not CSV", "is JSON, not CSV"
PARQUET = "is Parquet, not CSV"
XML, SEP = "HTML or XML, not CSV", "headed by a sep= line, not CSV"
REFUSED = {
    "csvkit/utf16-little": (b"\xff\xfe" + TEXT.encode("utf-16-le"), UTF8),
    "csvkit/utf16-big": (b"\xfe\xff" + TEXT.encode("utf-16-be"), UTF8),
    "duckdb/utf16-little-no-bom": (TEXT.encode("utf-16-le"), CONTROL),
    "duckdb/utf16-big-no-bom": (TEXT.encode("utf-16-be"), CONTROL),
    "excel/unicode-text": (b"\xff\xfe" + "a\tb\r\n".encode("utf-16-le"), UTF8),
    "pandas/utf32": (b"\xff\xfe\0\0" + TEXT.encode("utf-32-le"), UTF8),
    "csvkit/latin1-header": (b"a,Gr\xf6\xdfe\n1,2\n", UTF8),
    "papaparse/shift-jis-header": ("\u540d\u524d,b\n1,2\n".encode("shift-jis"), UTF8),
    "duckdb/nul-in-header": (b"a,b\0\n1,2\n", CONTROL),
    "duckdb/unclosed-header": (b'a,"b\n1,2\n', OPEN),
    "duckdb/unclosed-header-closed-below": (b'a,"b\n1,2\n3,"4"\n', AFTER),
    "clevercsv/text-after-quote-in-header": (b'a,"b"c\n1,2\n', AFTER),
    "csvkit/zip": (zipped("000.csv"), ZIP),
    "csvkit/xlsx": (zipped("xl/workbook.xml"), ZIP),
    "csvkit/xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16), UTF8),
    "pandas/tar": (tarred(), CONTROL),
    "pandas/bz2": (bz2.compress(TEXT.encode()), UTF8),
    "pandas/xz": (lzma.compress(TEXT.encode()), UTF8),
    "pandas/zstd": (b"(\xb5/\xfd\x04\x00A\0\0" + TEXT.encode(), UTF8),
    "duckdb/gzip-in-gzip": (gzip.compress(TEXT.encode(), mtime=0), UTF8),
    "duckdb/arrow": (b"ARROW1\0\0\xff\xff\xff\xff", UTF8),
    # The smallest dictionary page that polars writes: a line ends right after a size.
    "duckdb/parquet": (
        b"PAR1\x15\x04\x15\n\x15\x0eL\x15\x02\x15\0\0\0\x05\x10\x01\0\0\x000PAR1",
        PARQUET,
    ),
    "pandas/html": (b"<!DOCTYPE html>\n<html>\n<p>Access denied</p>\n</html>\n", XML),
    "pandas/html-fragment": (b"\n <HTML>\n", XML),
    "pandas/xml": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>\n', XML),
    "csvkit/json": (b'{"error": "denied", "code": 403}', JSON),
    "csvkit/json-list": (b'[\n  {"a": 1}]\n', JSON),
    "rust/ascii-delimited": (b"a\x1fb\x1e1\x1f2\x1e3\x1f4", CONTROL),
    "csv-spectrum/control-characters": (b"#id\x01name\x02\n1\x01Zoe\x02\n", CONTROL),
    "excel/sep-line": (b"sep=;\na;b\n1;2\n", SEP),
    "excel/sep-line-crlf": (b"sep=,\r\na,b\r\n1,2\r\n", SEP),
}
FORMATS = [pytest.param(*both, id=name) for name, both in REFUSED.items()]


@pytest.mark.parametrize("mode", ["fail", "divert"])
@pytest.mark.parametrize("block", [16, BLOCK])
@pytest.mark.parametrize(("data", "says"), FORMATS)
def test_refused(data: bytes, says: str, block: int, mode: str) -> None:
    """A file that is not CSV in UTF-8, or has no usable header row, is refused in either mode."""
    with pytest.raises(FormatError, match=f"^users 000.csv: .*{says}"):
        reader(data, block, divert=mode == "divert")


NONE = type(None)


def text_of(value: Any) -> str:
    """A record's value as spelt in the file."""
    return "" if value is None else str(value)


def coalesced(record: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """A record's own values as text, including those that do not fit their type."""
    return [text_of(record[c]) or text_of(record.get(f"{c}__text")) for c in columns]


TAPPED = """
csv-spectrum/json csv-spectrum/coordinates csv-spectrum/latin1 csv-spectrum/newlines-cr
csvkit/null-byte csvkit/locale clevercsv/semicolon duckdb/normalized-names
duckdb/reserved-names duckdb/overlong-surrogate-beyond duckdb/unquoted-value-after-newline
duckdb/one-column-blank-lines excel/formulas excel/quoted-numbers go/grid-of-empties
naughty/no-line-ends naughty/invisible naughty/terminal pandas/sub-at-end polars/emoji
redshift/numbers-and-times redshift/parts-in-one ruby/mixture univocity/line-ends-kept
""".split()


def catalog_of(columns: Sequence[str]) -> dict[str, Any]:
    """A catalog with the columns, so that the file counts as one of activities; no types."""
    schema = {"properties": {column: {"type": "null"} for column in columns}}
    metadata = [{"breadcrumb": [], "metadata": {"selected": True}}]
    entry = {"tap_stream_id": "activities", "schema": schema, "metadata": metadata}
    return {"streams": [entry]}


def tapped(
    emulator: Emulator, data: bytes, mode: str, state: Mapping[str, Any], columns: Sequence[str]
) -> Run:
    """Run the tap on one more file of activities."""
    emulator.add("activities", "2026-05-14-12", data)
    return run(settings(emulator, malformed_rows=mode), state, catalog_of(columns))


@pytest.mark.parametrize("types", ["inferred", "pinned"])
@pytest.mark.parametrize("name", TAPPED)
def test_tap_diverts(emulator: Emulator, name: str, types: str) -> None:
    """Records hold every cell that Python's csv module reads, whatever the types."""
    case = NAMED[name]
    columns = case.columns.split()
    state: Mapping[str, Any] = {}
    if types == "pinned":
        # Every column is an integer by now, so text goes into its misfit column.
        ones = ",".join(columns) + "\n" + ",".join("1" for _ in columns) + "\n"
        emulator.add("activities", "2026-05-14-08", ones)
        state = run(settings(emulator), None, catalog_of(columns)).state
    done = tapped(emulator, case.data, "divert", state, columns)
    found: dict[int, list[str] | Bad] = {
        record["_sdc_source_lineno"]: coalesced(record, columns)
        for record in done.records("activities")
    }
    assert len(found) == len(done.records("activities"))
    if types == "pinned":
        assert {type(r[c]) for r in done.records("activities") for c in columns} <= {int, NONE}
    bad = done.records("activities_malformed")
    found |= {r["_sdc_source_lineno"]: Bad(r["raw"], r["reason"]) for r in bad}
    assert found == dict(enumerate(as_python_reads(case) if not bad else as_text(case.want), 1))
    finished = done.state["bookmarks"]["activities"]["finished"]
    assert len(finished) == (2 if types == "pinned" else 1)


@pytest.mark.parametrize("name", [name for name in TAPPED if NAMED[name].first_bad])
def test_tap_fails(emulator: Emulator, name: str) -> None:
    """The run ends with an error that names file, row and reason; no file is marked as finished."""
    case = NAMED[name]
    bad = case.want[case.first_bad - 1]
    assert isinstance(bad, Bad)
    says = f"2026-05-14-12/000.csv/[0-9a-f]{{12}}: row {case.first_bad}: {re.escape(bad.reason)};"
    with pytest.raises(FormatError, match=says) as caught:
        tapped(emulator, case.data, "fail", {}, case.columns.split())
    done: Run = caught.value.run  # type: ignore[attr-defined]
    assert not done.state["bookmarks"]["activities"].get("finished")


@pytest.mark.parametrize("mode", ["fail", "divert"])
@pytest.mark.parametrize("name", ["pandas/bz2", "duckdb/arrow", "duckdb/parquet"])
def test_tap_refuses(emulator: Emulator, name: str, mode: str) -> None:
    """A file that is not CSV ends the run in either mode and is named; none of it is emitted."""
    data, says = REFUSED[name]
    with pytest.raises(FormatError, match=f"2026-05-14-12/000.csv/.*{says}") as caught:
        tapped(emulator, data, mode, {}, ["user_id"])
    done: Run = caught.value.run  # type: ignore[attr-defined]
    assert done.of("RECORD") == []
    assert "activities" not in done.state.get("bookmarks", {})
