"""Caption files as other tools write them: each layout, with the right captions."""

import io
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions import ById, ColumnNames, read_captions, read_references

TWO = {"a.jpg": ["a dog runs"], "b.jpg": ["the sea, at night", "a boat"]}
IMPORT = ColumnNames("", "", "dataset.image_column", "dataset.caption_column")


def read(folder: Path, name: str, content: str | bytes | Any, **columns: str) -> ById[list[str]]:
    """As the data set ``folder`` reads it."""
    text = content if isinstance(content, str | bytes) else json.dumps(content, ensure_ascii=False)
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    names = ColumnNames(
        columns.get("image", ""), columns.get("caption", ""), IMPORT.image_option, IMPORT.caption_option
    )
    return read_references(path, columns=names, strict=False)


ROWS = "a.jpg{0}a dog runs\nb.jpg{0}the sea, at night\nb.jpg{0}a boat\n"
QUOTED = 'a.jpg,a dog runs\nb.jpg,"the sea, at night"\nb.jpg,a boat\n'
LISTS = {"image": ["a.jpg", "b.jpg"], "captions": [TWO["a.jpg"], TWO["b.jpg"]]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comma.csv", f"image,caption\n{QUOTED}"),
        ("unquoted.csv", f"image,caption\n{ROWS.format(',')}"),
        ("excel.csv", ("\ufeffsep=;\nImage;Caption\n" + ROWS.format(";")).replace("\n", "\r\n")),
        ("semicolon.csv", f"file name;Beschreibung\n{ROWS.format(';')}"),
        ("blanks.csv", 'image, caption\na.jpg, "a dog runs"\nb.jpg, "the sea, at night"\nb.jpg, a boat\n'),
        ("no_header_semicolon.csv", "a.jpg;a dog runs\nb.jpg;the sea, at night\nb.jpg;a boat\n"),
        ("tab.tsv", f"filepath\tdescription\n{ROWS.format(chr(9))}"),
        ("bar.csv", f"image|caption\n{ROWS.format('|')}"),
        ("no_header.csv", QUOTED),
        ("no_header.tsv", ROWS.format("\t")),
        ("pairs.txt", ROWS.format(" ")),
        ("colon.txt", ROWS.format(": ")),
        ("utf16.csv", f"image,caption\n{QUOTED}".encode("utf-16")),
        ("utf16_without_mark.csv", f"image,caption\n{QUOTED}".encode("utf-16-le")),
        ("commas.csv", 'image,caption\na.jpg,a dog runs,,\nb.jpg,"the sea, at night",\nb.jpg,a boat\n'),
        ("bild.csv", f"Bild,Text\n{QUOTED}"),
        ("trailing.csv", 'image,caption,,\na.jpg,a dog runs,,\nb.jpg,"the sea, at night",,\nb.jpg,a boat,,\n'),
        ("wide.csv", 'image,caption_0,caption_1\na.jpg,a dog runs,\nb.jpg,"the sea, at night",a boat\n'),
        ("wide.tsv", "image\tcaption\tcaption2\na.jpg\ta dog runs\t\nb.jpg\tthe sea, at night\ta boat\n"),
        ("json_list.csv", 'image,raw\na.jpg,"[""a dog runs""]"\nb.jpg,"[""the sea, at night"", ""a boat""]"\n'),
        ("python_list.csv", "image,captions\na.jpg,['a dog runs']\n" + "b.jpg,\"['the sea, at night', 'a boat']\"\n"),
        ("ours.csv", 'image,greedy,references\na.jpg,x,a dog runs\nb.jpg,y,"the sea, at night | a boat"\n'),
        ("mapping.json", TWO),
        ("mapping_of_texts.json", {"a.jpg": "a dog runs", "b.jpg": TWO["b.jpg"]}),
        ("mapping_of_objects.json", {name: {"captions": texts, "split": "train"} for name, texts in TWO.items()}),
        ("columns.json", {"data": [{"image": name, "caption": texts} for name, texts in TWO.items()]}),
        ("llava.json", [{"id": str(n), "image": name, "conversations": [turn for text in texts for turn in ({"from": "human", "value": "<image>\nDescribe it."}, {"from": "gpt", "value": text})]} for n, (name, texts) in enumerate(TWO.items())]),
        ("metadata.jsonl", "\n".join(json.dumps({"file_name": name, "text": texts}) for name, texts in TWO.items())),
        ("nested.jsonl", "\n".join(json.dumps({"image": name, "sentences": [{"raw": text, "tokens": []} for text in texts]}) for name, texts in TWO.items())),
    ],
)  # fmt: skip
def test_a_layout_gives_the_captions_of_its_images(tmp_path: Path, name: str, content: Any) -> None:
    captions = read(tmp_path, name, content)
    assert captions == TWO
    assert captions.faults == []
    assert captions.layout[0].startswith(f"{tmp_path / name}: ")


def test_r2gen_has_splits_and_several_pictures_for_a_report(tmp_path: Path) -> None:
    annotation = {
        "train": [{"id": "CXR1", "image_path": ["CXR1/0.png", "CXR1/1.png"], "report": "the heart is normal ."}],
        "val": [{"id": "CXR2", "image_path": ["CXR2/0.png"], "report": "no edema ."}],
    }
    captions = read(tmp_path, "annotation.json", annotation)
    assert captions == {
        "CXR1/0.png": ["the heart is normal ."], "CXR1/1.png": ["the heart is normal ."], "CXR2/0.png": ["no edema ."]
    }  # fmt: skip
    assert [list(captions.splits[key]) for key in captions] == [["train"], ["train"], ["val"]]


def test_case_karpathy_filepath_names_a_picture_whose_file_name_is_not_unique(tmp_path: Path) -> None:
    def image(folder: str, name: str, number: int) -> dict[str, Any]:
        return {
            "filepath": folder,
            "filename": name,
            "imgid": number,
            "cocoid": 100 + number,
            "sentences": [{"raw": f"caption {number}"}],
        }

    twice = read(tmp_path, "twice.json", {"images": [image("d0", "0.jpg", 0), image("d1", "0.jpg", 1)]})
    assert twice == {"d0/0.jpg": ["caption 0"], "d1/0.jpg": ["caption 1"]}
    once = read(tmp_path, "once.json", {"images": [image("val2014", "0.jpg", 0), image("val2014", "1.jpg", 1)]})
    assert list(once) == ["0.jpg", "1.jpg"]
    assert once.aliases["filepath"] == {"val2014/0.jpg": "0.jpg", "val2014/1.jpg": "1.jpg"}
    assert once.aliases["cocoid"] == {"100": "0.jpg", "101": "1.jpg"}


def test_every_other_column_that_names_the_images_is_an_alias(tmp_path: Path) -> None:
    table = "row,image_id,file_name,caption,width\n0,17,a.jpg,a dog,640\n1,17,a.jpg,a cat,640\n2,18,b.jpg,a cow,640\n"
    captions = read(tmp_path, "a.csv", table)
    assert captions == {"a.jpg": ["a dog", "a cat"], "b.jpg": ["a cow"]}
    assert captions.aliases == {"image_id": {"17": "a.jpg", "18": "b.jpg"}}
    by_number = read(tmp_path, "b.csv", table, image="image_id")
    assert (list(by_number), by_number.aliases) == (["17", "18"], {"file_name": {"a.jpg": "17", "b.jpg": "18"}})


def test_a_number_for_each_caption_names_no_image(tmp_path: Path) -> None:
    captions = read(tmp_path, "a.csv", "id,image,caption\n1,a.jpg,x\n2,a.jpg,y\n3,b.jpg,z\n")
    assert captions == {"a.jpg": ["x", "y"], "b.jpg": ["z"]}
    assert captions.aliases == {}


def test_pictures_of_one_file_name_are_not_merged(tmp_path: Path) -> None:
    captions = read(tmp_path, "a.csv", "name,path,caption\n0.jpg,x/0.jpg,one\n0.jpg,y/0.jpg,two\n0.jpg,y/0.jpg,three\n")
    assert captions == {"x/0.jpg": ["one"], "y/0.jpg": ["two", "three"]}
    captions = read(tmp_path, "b.csv", "image_id,file_name,caption\n1,0.jpg,one\n2,0.jpg,two\n2,0.jpg,three\n")
    assert captions == {"1": ["one"], "2": ["two", "three"]}


def test_a_column_is_named_where_it_cannot_be_told(tmp_path: Path) -> None:
    table = "image,english,deutsch\na.jpg,a big dog,ein Hund da\n"
    with pytest.raises(
        CaptionsError, match=r"several columns of text \(english, deutsch\); give .* with dataset\.caption_column"
    ):
        read(tmp_path, "a.csv", table)
    assert read(tmp_path, "a.csv", table, caption="deutsch") == {"a.jpg": ["ein Hund da"]}
    pair = "before,after,caption\na.jpg,b.jpg,a dog\nc.jpg,d.jpg,a cat\n"
    with pytest.raises(
        CaptionsError, match=r"the columns before, after name different images; give .* with dataset\.image_column"
    ):
        read(tmp_path, "b.csv", pair)
    assert list(read(tmp_path, "b.csv", pair, image="after")) == ["b.jpg", "d.jpg"]
    with pytest.raises(
        CaptionsError,
        match=r"b\.csv has the columns before, after, caption, but not during; give .* with dataset\.image_column",
    ):
        read(tmp_path, "b.csv", pair, image="during")


def test_advice_names_only_what_exists(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,score\na.jpg,1\n")
    with pytest.raises(CaptionsError) as raised:
        read_captions(path)
    assert "dataset." not in str(raised.value) and "--" not in str(raised.value)


def test_case_caption_column_of_another_name(tmp_path: Path) -> None:
    for image, caption in (
        ("image", "description"),
        ("image_path", "title"),
        ("img", "report"),
        ("Foto", "raw"),
        ("photo", "Was man sieht"),
    ):
        assert read(tmp_path, "a.csv", f"{image},{caption}\n{QUOTED}") == TWO


def test_case_captions_with_start_end_tokens_lose_them_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = (
        "<start> a dog <end>", "startseq a dog endseq", "[CLS] a dog [SEP]", "<s>a dog</s>", "<|startoftext|>a dog<|endoftext|>",
        "a <unk> dog", "<PAD> a dog <pad> <pad>", "a dog",
    )  # fmt: skip
    captions = read(
        tmp_path, "a.csv", "image,caption\n" + "".join(f"{n}.jpg,{text}\n" for n, text in enumerate(written))
    )
    assert [*captions.values()] == [["a dog"]] * len(written)
    assert "a.csv: 7 captions with markers such as <start>, which were removed" in caplog.text


def test_words_that_are_not_markers_stay(tmp_path: Path) -> None:
    for text in ("the start of a race", "an end seq of a film", "a sign [no end]", "2 < 3 and 4 > 3"):
        assert read(tmp_path, "a.jsonl", json.dumps({"image": "a.jpg", "caption": text})) == {"a.jpg": [text]}


@pytest.mark.parametrize("empty", ["", "nan", "NaN", "null", "None", "  ", "<start> <end>"])
def test_case_one_picture_without_caption_is_one_fault(tmp_path: Path, empty: str) -> None:
    captions = read(tmp_path, "a.csv", f"image,caption\na.jpg,{empty}\nb.jpg,a dog\nc.jpg,7\n")
    assert captions == {"b.jpg": ["a dog"], "c.jpg": ["7"]}
    assert list(map(str, captions.faults)) == [f"{tmp_path / 'a.csv'}:2: 'a.jpg' has no caption"]


@pytest.mark.parametrize("value", [None, float("nan"), "", [], [None], {"x": 1}, True, "word " * 1000])
def test_case_one_picture_without_caption_in_json(tmp_path: Path, value: object) -> None:
    captions = read(
        tmp_path,
        "a.json",
        [
            {"image": "a.jpg", "caption": value},
            {"image": "b.jpg", "caption": 7},
            {"image": "c.jpg", "caption": "a dog"},
        ],
    )
    assert captions == {"b.jpg": ["7"], "c.jpg": ["a dog"]}
    assert len(captions.faults) == 1


def test_an_empty_caption_beside_others_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    captions = read(tmp_path, "a.csv", "image,caption\na.jpg,\na.jpg,a dog\nb.jpg,a cat\n")
    assert captions == {"a.jpg": ["a dog"], "b.jpg": ["a cat"]}
    assert captions.faults == []
    assert "1 caption without text, left out" in caplog.text


def test_case_line_separator_in_caption_becomes_a_blank(tmp_path: Path) -> None:
    for separator in "\u2028\u2029\x85\n\r\t\x0b":
        row = {"image": "a.jpg", "caption": f"a red box{separator}on a floor"}
        assert read(tmp_path, "a.jsonl", json.dumps(row, ensure_ascii=False)) == {"a.jpg": ["a red box on a floor"]}
    halves = read(tmp_path, "b.jsonl", r'{"image": "a.jpg", "caption": "a \ud83d dog"}')
    assert halves == {"a.jpg": ["a  dog"]}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.csv", "image,caption,n\na.jpg,a dog,1\nb.jpg,a cat\n", "a.csv:3: has 2 columns instead of 3; put captions in quotes"),
        ("a.jsonl", '{"image": "a.jpg", "caption": "a dog"}\n{"image": "b.jpg", "cap', "a.jsonl:2: broken JSON at line 1"),
        ("a.json", [{"image": "a.jpg", "caption": "a dog"}, "a cat"], "a.json[1]: is not an object but 'a cat'"),
        ("a.json", [{"image": "a.jpg", "caption": "a dog"}, {"image": None, "caption": "a cat"}], "a.json[1]: image is None"),
        ("a.txt", "a.jpg#0\ta dog\nb.jpg a cat\n", "a.txt:2: is not 'name.jpg#0<TAB>caption'"),
    ],
)  # fmt: skip
def test_a_bad_row_is_one_fault(tmp_path: Path, name: str, content: Any, fault: str) -> None:
    captions = read(tmp_path, name, content)
    assert captions == {"a.jpg": ["a dog"]}
    assert [str(each).startswith(f"{tmp_path}/{fault}") for each in captions.faults] == [True]


def test_only_bad_rows_are_an_error_with_the_first(tmp_path: Path) -> None:
    with pytest.raises(
        CaptionsError, match=r"a\.csv holds no usable captions: 2 rows were left out, such as .*a\.csv:2"
    ):
        read(tmp_path, "a.csv", "image,caption\na.jpg,\nb.jpg,nan\n")


def test_a_quote_that_is_not_closed_costs_no_other_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    captions = read(tmp_path, "a.csv", 'image,caption\na.jpg,"a dog\nb.jpg,"a ""big"" cat"\nc.jpg,a 5" nail\n')
    assert captions == {"a.jpg": ['"a dog'], "b.jpg": ['a "big" cat'], "c.jpg": ['a 5" nail']}
    assert "1 caption in rows whose quotes do not close" in caplog.text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1252", "ein Hund läuft über die Straße – schnell…"), ("latin-1", "un café à côté"), ("cp1252", "Größe")],
)
def test_a_western_file_is_read_with_a_warning(
    tmp_path: Path, encoding: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    captions = read(tmp_path, "a.csv", f"image;caption\na.jpg;{text}\n".encode(encoding))
    assert captions == {"a.jpg": [text]}
    assert "a.csv is not UTF-8 and is read as Windows-1252" in caplog.text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("gb18030", "一只狗在雪地里跑"), ("cp1251", "собака бежит по снегу"), ("shift_jis", "犬が雪の中を走る")],
)
def test_another_code_page_is_refused_by_name_and_with_a_way_out(tmp_path: Path, encoding: str, text: str) -> None:
    with pytest.raises(
        CaptionsError, match=r"a\.csv is not UTF-8 at byte \d+ \(0x.., in line 2\); save it as UTF-8 \(in Excel"
    ):
        read(tmp_path, "a.csv", f"image,caption\na.jpg,{text}\n".encode(encoding))


def test_numpy_lists_in_a_cell_are_several_captions(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "image,captions\na.jpg,['a dog' 'a cat']\n") == {"a.jpg": ["a dog", "a cat"]}


def test_the_captions_of_one_row_are_not_guessed_from_numbers(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"no column of captions among image, score, height"):
        read(tmp_path, "a.csv", "image,score,height\na.jpg,0.5,1\n")
    assert read(tmp_path, "a.csv", "image,score,height\na.jpg,0.5,1\n", caption="score") == {"a.jpg": ["0.5"]}


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_with_and_without_pictures(tmp_path: Path) -> None:
    plain = write_parquet(tmp_path / "a.parquet", LISTS)
    assert read_references(plain) == TWO
    pictures = [{"bytes": b"1", "path": "a.jpg"}, {"bytes": b"2", "path": "b.jpg"}]
    embedded = write_parquet(tmp_path / "b.parquet", {**LISTS, "image": pictures})
    captions = read_references(embedded)
    assert captions == TWO
    assert captions.layout == [f"{embedded}: Parquet with embedded pictures, images in image, captions in captions"]
    nameless = write_parquet(
        tmp_path / "c.parquet", {"image": [{"bytes": b"1", "path": None}] * 2, "text": ["a dog", "a cat"]}
    )
    assert read_references(nameless) == {"00000000.jpg": ["a dog"], "00000001.jpg": ["a cat"]}
    assert read_references(Path("my.zip/a.parquet"), plain.read_bytes()) == TWO


def test_scoring_is_strict_where_a_row_would_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,caption\na.jpg,<start> a <unk> dog <end>\nb.jpg,\n")
    assert read_captions(path) == {"a.jpg": "a <unk> dog", "b.jpg": ""}
    with pytest.raises(CaptionsError, match=r"a\.csv:3: 'b\.jpg' has no reference; add one"):
        read_references(path)


NAME = st.from_regex(r"[a-zA-Zé0-9][a-zA-Zé0-9_ -]{0,8}", fullmatch=True).map(lambda stem: f"{stem.strip()}.jpg")
WORDS = st.lists(st.from_regex(r"[a-zA-Zäß犬ع',;0-9-]{1,8}", fullmatch=True), min_size=2, max_size=6).map(" ".join)
RECORDS = st.dictionaries(NAME, st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=6)


def as_table(records: dict[str, list[str]], delimiter: str, header: bool, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    import csv

    rows = csv.writer(text, delimiter=delimiter)
    if header:
        rows.writerow(["image", "caption"])
    rows.writerows((name, caption) for name, captions in records.items() for caption in captions)
    return text.getvalue().encode(encoding)


def as_karpathy(records: dict[str, list[str]]) -> Any:
    return {
        "images": [
            {"filename": name, "sentences": [{"raw": text} for text in texts]} for name, texts in records.items()
        ]
    }


def as_coco(records: dict[str, list[str]]) -> Any:
    names = list(records)
    return {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "id": 0, "caption": text} for number, name in enumerate(names) for text in records[name]],
    }  # fmt: skip


def as_wide(records: dict[str, list[str]]) -> bytes:
    import csv

    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["file_name", "caption_0", "caption_1", "caption_2"])
    rows.writerows([name, *captions, *[""] * (3 - len(captions))] for name, captions in records.items())
    return text.getvalue().encode()


def as_parquet(records: dict[str, list[str]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"image": list(records), "captions": list(records.values())}), sink)
    return sink.getvalue()


WRITERS: dict[str, Any] = {
    "a.csv": lambda records: as_table(records, ",", True, "utf-8"),
    "b.csv": lambda records: as_table(records, ";", True, "utf-8-sig"),
    "c.tsv": lambda records: as_table(records, "\t", True, "utf-16"),
    "d.csv": lambda records: as_table(records, "|", False, "utf-8"),
    "e.json": as_karpathy,
    "f.json": as_coco,
    "g.json": lambda records: records,
    "h.jsonl": lambda records: "\n".join(
        json.dumps({"image": name, "captions": texts}) for name, texts in records.items()
    ),
    "i.csv": as_wide,
    "j.parquet": as_parquet,
    "k.token": lambda records: "".join(
        f"{name}#{n}\t{text}\n" for name, texts in records.items() for n, text in enumerate(texts)
    ),
    "l.json": lambda records: {"train": [{"image": name, "captions": texts} for name, texts in records.items()]},
}


@given(records=RECORDS, layout=st.sampled_from(sorted(WRITERS)))
def test_records_written_in_any_layout_are_read_the_same_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, records: dict[str, list[str]], layout: str
) -> None:
    logging.disable(logging.WARNING)
    try:
        found = read(tmp_path_factory.mktemp("layout"), layout, WRITERS[layout](records))
    except CaptionsError as error:
        assert "\n" not in str(error)
        return
    finally:
        logging.disable(logging.NOTSET)
    names = {name: key for key, name in ((key, found.names.get(key, key)) for key in found)}
    by_file = {
        next((n for n, k in found.names.items() if k == key and n.endswith(".jpg")), key): texts
        for key, texts in found.items()
    }
    assert by_file == records, names
    assert found.faults == []


@given(
    data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode),
    ending=st.sampled_from(["csv", "json", "jsonl", "txt", "parquet", "tsv"]),
)
def test_any_bytes_are_captions_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"a.{ending}"
    path.write_bytes(data)
    for strict in (True, False):
        try:
            read_references(path, strict=strict)
        except CaptionsError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("column", ["phase", "dataset", "Usage", "my split", "set_name"])
def test_the_split_is_the_column_with_the_names_of_splits(tmp_path: Path, column: str) -> None:
    rows = f"image,caption,{column}\na.jpg,a dog runs,Train\nb.jpg,a boat,TEST\n"
    captions = read(tmp_path, "a.csv", rows)
    assert {key: list(names) for key, names in captions.splits.items()} == {"a.jpg": ["Train"], "b.jpg": ["TEST"]}


def test_words_that_are_captions_are_not_taken_for_splits(tmp_path: Path) -> None:
    captions = read(tmp_path, "a.csv", "image,caption,kind\na.jpg,train,train\nb.jpg,test,train\n")
    assert (captions, captions.splits) == ({"a.jpg": ["train"], "b.jpg": ["test"]}, {})


def test_html_becomes_text_and_the_place_of_an_image_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "image\tcaption\na.jpg\t<p>a dog &amp; a&nbsp;cat<br/>run</p>\nb.jpg\t<image> x < y, AT&T\n"
    assert read(tmp_path, "a.tsv", rows) == {"a.jpg": ["a dog & a cat run"], "b.jpg": ["x < y, AT&T"]}
    assert "1 caption with tags or entities of HTML, which became text" in caplog.text


def test_an_answer_may_have_parts_and_texts_may_be_under_one_key(tmp_path: Path) -> None:
    question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe it."}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "a dog runs"}]}
    assert read(tmp_path, "a.json", [{"image": "a.jpg", "messages": [question, answer]}]) == {"a.jpg": ["a dog runs"]}
    sentences = {"raw": ["a dog runs", "a boat"], "sentid": [1, 2]}
    assert read(tmp_path, "b.json", [{"image": "a.jpg", "sentences": sentences}]) == {"a.jpg": ["a dog runs", "a boat"]}


def test_of_several_pictures_in_parquet_the_one_called_so_is_meant(tmp_path: Path) -> None:
    columns = {name: [{"bytes": b"1", "path": f"{name}.png"}] for name in ("conditioning_image", "image", "mask")}
    file = write_parquet(tmp_path / "a.parquet", {**columns, "text": ["a dog"]})
    assert read_references(file) == {"image.png": ["a dog"]}


@pytest.mark.parametrize("key", ["image", "picture_urls"])
def test_lists_by_column_are_read_row_by_row(tmp_path: Path, key: str) -> None:
    columns = {key: ["http://x/a.jpg", "http://x/b.jpg"], "user": [1, 2], "captions": ["a dog", "a cat"]}
    expected = {"http://x/a.jpg": ["a dog"], "http://x/b.jpg": ["a cat"]}
    assert read(tmp_path, "a.json", columns) == expected
    by_row = {name: dict(zip("01", cells, strict=True)) for name, cells in columns.items()}
    assert read(tmp_path, "b.json", by_row) == expected


def test_one_report_of_several_images_stays_one_row(tmp_path: Path) -> None:
    study = {"id": "s1", "image_path": ["a.png", "b.png"], "report": "No fluid ."}
    assert read(tmp_path, "a.json", study) == {"a.png": ["No fluid ."], "b.png": ["No fluid ."]}


def test_columns_of_unknown_names_can_be_named_though_captions_contain_commas(tmp_path: Path) -> None:
    rows = 'style,painting,said\npop,a_dog,"a dog, asleep"\npop,a_cat,a cat\n'
    captions = read(tmp_path, "a.csv", rows, image="painting", caption="said")
    assert captions == {"a_dog": ["a dog, asleep"], "a_cat": ["a cat"]}
