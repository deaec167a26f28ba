//! Embeddings, ids and captures: what is read, what is refused, and how the refusal reads.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use symbolon_host::error::{Error, Kind};
use symbolon_host::input::{
    Captures, Embeddings, Format, MAX_DIMS, load_ids, parse_ids, require_unique, select,
};

fn parse(format: Format, bytes: impl AsRef<[u8]>) -> Result<Embeddings, Error> {
    Embeddings::parse(format, "in", bytes.as_ref())
}

/// The error's line, for input that must be refused.
fn refusal(format: Format, bytes: impl AsRef<[u8]>) -> String {
    parse(format, bytes).unwrap_err().to_string()
}

fn rows(embeddings: &Embeddings) -> Vec<Vec<f64>> {
    (0..embeddings.rows()).map(|i| embeddings.row(i).unwrap().to_vec()).collect()
}

/// A version 1 file with this text as its header, padded as numpy pads it.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(padded as u16).to_le_bytes());
    file.extend_from_slice(format!("{header:<width$}\n", width = padded - 1).as_bytes());
    file.extend_from_slice(data);
    file
}

fn plain(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    npy(&format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"), data)
}

fn bytes_of(values: &[f64], encode: impl Fn(f64) -> Vec<u8>) -> Vec<u8> {
    values.iter().flat_map(|&v| encode(v)).collect()
}

fn f4(values: &[f64]) -> Vec<u8> {
    bytes_of(values, |v| (v as f32).to_le_bytes().to_vec())
}

// --- npy ---

#[test]
fn npy_reads_both_widths_orders_and_ends() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, -0.5];
    let want = [[1.0, 2.0, 3.0], [4.0, 5.0, -0.5]];
    let big4 = bytes_of(&values, |v| (v as f32).to_be_bytes().to_vec());
    let little8 = bytes_of(&values, |v| v.to_le_bytes().to_vec());
    let big8 = bytes_of(&values, |v| v.to_be_bytes().to_vec());
    for (descr, data) in [("<f4", f4(&values)), (">f4", big4), ("<f8", little8), (">f8", big8)] {
        let embeddings = parse(Format::Npy, plain(descr, false, "(2, 3)", &data)).unwrap();
        assert_eq!((embeddings.rows(), embeddings.dims()), (2, 3));
        assert_eq!(rows(&embeddings), want, "{descr}");
        assert_eq!(embeddings.values(), values);
        assert!(embeddings.row(2).is_none() && embeddings.row(usize::MAX).is_none());
    }
    let columns = f4(&[1.0, 4.0, 2.0, 5.0, 3.0, -0.5]);
    let embeddings = parse(Format::Npy, plain("<f4", true, "(2, 3)", &columns)).unwrap();
    assert_eq!(rows(&embeddings), want);
}

#[test]
fn npy_reads_versions_two_and_three() {
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
    for version in [2, 3] {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend_from_slice(&[version, 0]);
        file.extend_from_slice(&(text.len() as u32).to_le_bytes());
        file.extend_from_slice(text.as_bytes());
        file.extend_from_slice(&f4(&[1.0, 2.0]));
        assert_eq!(rows(&parse(Format::Npy, file).unwrap()), [[1.0, 2.0]]);
    }
}

#[test]
fn npy_spans_many_chunks() {
    let values: Vec<f64> = (1..=100_000).map(f64::from).collect();
    let data = bytes_of(&values, |v| v.to_le_bytes().to_vec());
    let file = plain("<f8", false, "(1000, 100)", &data);
    assert_eq!(parse(Format::Npy, file).unwrap().values(), values);
    let file = plain("<f8", true, "(1000, 100)", &data);
    let embeddings = parse(Format::Npy, file).unwrap();
    assert_eq!(embeddings.row(7).unwrap()[99], 99_008.0);
}

#[test]
fn npy_refuses_other_arrays_by_name() {
    let one = f4(&[1.0]);
    for (file, error) in [
        (
            plain("<f2", false, "(1, 2)", &one),
            "E-FORMAT: in: the element type is '<f2': f4 and f8 are read here",
        ),
        (
            plain("<i4", false, "(1, 1)", &one),
            "E-FORMAT: in: the element type is '<i4': f4 and f8 are read here",
        ),
        (
            plain("|O", false, "(1, 1)", &one),
            "E-FORMAT: in: the element type is '|O': f4 and f8 are read here",
        ),
        (
            plain("<f4", false, "(1,)", &one),
            "E-FORMAT: in: the array has 1 axes: rows and columns, 2, are read here",
        ),
        (
            plain("<f4", false, "()", &one),
            "E-FORMAT: in: the array has 0 axes: rows and columns, 2, are read here",
        ),
        (
            plain("<f4", false, "(1, 1, 1)", &one),
            "E-FORMAT: in: the array has 3 axes: rows and columns, 2, are read here",
        ),
        (
            npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1, 1), }", &one),
            "E-FORMAT: in: the element type is a structure: f4 and f8 are read here",
        ),
        (plain("<f4", false, "(0, 4)", &[]), "E-PARSE: in: holds no embedding"),
        (
            plain("<f4", false, "(4, 0)", &[]),
            "E-DIMENSION: in: 0 dimensions: 1 to 512 are supported",
        ),
        (
            plain("<f4", false, "(1, 513)", &one),
            "E-DIMENSION: in: 513 dimensions: 1 to 512 are supported",
        ),
    ] {
        assert_eq!(refusal(Format::Npy, file), error);
    }
}

#[test]
fn npy_refuses_data_that_is_short_or_long() {
    let data = f4(&[1.0, 2.0, 3.0, 4.0]);
    let whole = plain("<f4", false, "(2, 2)", &data);
    assert!(parse(Format::Npy, &whole).is_ok());
    for len in 0..whole.len() {
        assert_eq!(parse(Format::Npy, &whole[..len]).unwrap_err().kind(), Kind::Parse, "{len}");
    }
    let long = [&whole[..], b"\0"].concat();
    assert_eq!(
        refusal(Format::Npy, long),
        "E-PARSE: in: the header claims 2 x 2 elements of 4 bytes, but 17 bytes follow"
    );
}

#[test]
fn npy_survives_hostile_headers() {
    let data = f4(&[1.0]);
    let deep = |open: &str, n: usize| npy(&format!("{{'shape': {}", open.repeat(n)), &data);
    let mut hostile = vec![
        // Claims of terabytes, and of more than 64 bits can count.
        plain("<f4", false, "(999999999999, 512)", &data),
        plain("<f4", false, "(9223372036854775808, 512)", &data),
        plain("<f4", false, "(99999999999, 99999999999)", &data),
        plain("<f4", false, "(0xffffffffffffffff, 0xffffffffffffffff)", &data),
        plain("<f4", false, &format!("({})", "99, ".repeat(200)), &data),
        plain("<f4", false, "(-1, 4)", &data),
        plain("<f4", false, "(1.0, 4)", &data),
        plain("<f4", false, "(True, 4)", &data),
        plain("<f99999999999999", false, "(1, 1)", &data),
        plain("<U9999999999999999", false, "(1, 1)", &data),
        plain("", false, "(1, 1)", &data),
        plain("\\777", false, "(1, 1)", &data),
        plain("\\N{x}", false, "(1, 1)", &data),
        npy("{}", &data),
        npy("", &data),
        npy("[]", &data),
        npy("{1: 2}", &data),
        npy("'", &data),
        // Recursion, and backtracking that doubles at each level.
        deep("(", 9000),
        deep("[", 60),
        deep("{", 60),
        deep("-", 9000),
        deep("(')',", 1500),
        deep("[']',", 60),
        deep("{'}':", 60),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(),
        b"\x93NUMPY\x09\x09\x01\x00\x00\x00{".to_vec(),
        b"PK\x03\x04".repeat(40),
    ];
    let mut latin1 = plain("<f4", false, "(1, 1)", &data);
    latin1[20] = 0xe9;
    hostile.push(latin1);
    for file in hostile {
        let error = parse(Format::Npy, file).unwrap_err();
        assert!(matches!(error.kind(), Kind::Parse | Kind::Format), "{error}");
    }
}

#[test]
fn a_claim_beyond_the_file_allocates_nothing() {
    // Sparse: as long as its header claims, but far beyond memory and the limit.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.npy");
    fs::write(&path, plain("<f4", false, "(99999999999, 512)", &[])).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = Embeddings::load(&path).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Io, "is larger than 16 GiB"));
}

// --- csv ---

#[test]
fn csv_reads_numbers_with_and_without_header() {
    let want = [[0.5, -1.0, 2e-3], [3.0, 4.0, 5.0]];
    for text in [
        "0.5,-1,2e-3\n3,4,5\n",
        "0.5,-1,2e-3\n3,4,5",
        "0.5 , -1,\t2e-3\r\n3,4,5\r\n",
        "\u{feff}0.5,-1,2e-3\n3,4,5\n",
        "x,y,z\n0.5,-1,2e-3\n3,4,5\n",
        "\u{feff}\"x, y\",\"z\"\r\n\"0.5\",\"-1\",\"2e-3\"\r\n3,4,5\r\n",
    ] {
        let embeddings = parse(Format::Csv, text).unwrap();
        assert_eq!(rows(&embeddings), want, "{text:?}");
        assert!(embeddings.ids().is_none());
    }
    assert_eq!(rows(&parse(Format::Csv, "7").unwrap()), [[7.0]]);
    // What pandas calls unnamed columns; a short row of small integers is data.
    let text = "0,1,2,3,4,5,6,7\n1,1,1,1,1,1,1,1\n";
    assert_eq!(rows(&parse(Format::Csv, text).unwrap()), [[1.0; 8]]);
    assert_eq!(rows(&parse(Format::Csv, "0,1,2\n").unwrap()), [[0.0, 1.0, 2.0]]);
}

#[test]
fn csv_errors_name_row_line_and_column() {
    for (text, error) in [
        ("1,2\n3\n", "E-DIMENSION: in: row 1 (line 2): 1 values, but the first row has 2"),
        ("a,b\n1,2\n3,4,5\n", "E-DIMENSION: in: row 1 (line 3): 3 values, but the first row has 2"),
        ("a,b\n1,2\n3,x\n", "E-PARSE: in: row 1 (line 3), column 1: not a number"),
        ("1,x\n3,4\n", "E-PARSE: in: row 0 (line 1), column 1: not a number"),
        ("a,b\nc,d\n", "E-PARSE: in: row 0 (line 2), column 0: not a number"),
        ("1,2,\n", "E-PARSE: in: row 0 (line 1), column 2: not a number"),
        ("1,2\n\n3,4\n", "E-PARSE: in: row 1 (line 2): the line is empty"),
        ("1,2\n\n", "E-PARSE: in: row 1 (line 2): the line is empty"),
        (
            "1,2\n3,nan\n",
            "E-NOT-FINITE: in: row 1 (line 2), column 1: the value is NaN or infinite",
        ),
        ("1,-inf\n", "E-NOT-FINITE: in: row 0 (line 1), column 1: the value is NaN or infinite"),
        ("1,1e999\n", "E-NOT-FINITE: in: row 0 (line 1), column 1: the value is NaN or infinite"),
        ("1,2\n0,-0\n", "E-ZERO-VECTOR: in: row 1 (line 2): all values are zero"),
        ("a,b\n", "E-PARSE: in: holds no embedding"),
        ("", "E-PARSE: in: holds no embedding"),
        ("\u{feff}", "E-PARSE: in: holds no embedding"),
        ("\n", "E-PARSE: in: holds no embedding"),
    ] {
        assert_eq!(refusal(Format::Csv, text), error, "{text:?}");
    }
    assert_eq!(parse(Format::Csv, b"1,\xff\n").unwrap_err().kind(), Kind::Parse);
    let wide = vec!["1"; MAX_DIMS + 1].join(",");
    let error = "E-DIMENSION: in: row 0 (line 1): 513 dimensions: 1 to 512 are supported";
    assert_eq!(refusal(Format::Csv, &wide), error);
    assert_eq!(parse(Format::Csv, &wide[2..]).unwrap().dims(), MAX_DIMS);
    // A wide first row and a long file may not claim the product of the two.
    let narrow = format!("{}\n{}", &wide[2..], "1\n".repeat(20_000_000));
    assert_eq!(parse(Format::Csv, narrow).unwrap_err().kind(), Kind::Dimension);
}

// --- jsonl ---

#[test]
fn jsonl_reads_arrays_and_objects() {
    let want = [[0.5, -1.0], [3.0, 4.0]];
    for text in [
        "[0.5, -1]\n[3, 4.0]\n",
        " [0.5,-1] \r\n{\"embedding\": [3, 4]}",
        "{\"embedding\":[0.5,-1],\"age\":{\"x\":[null]}}\n{\"z\":1,\"embedding\":[3,4]}\n",
    ] {
        let embeddings = parse(Format::Jsonl, text).unwrap();
        assert_eq!(rows(&embeddings), want, "{text:?}");
        assert!(embeddings.ids().is_none());
    }
    let text =
        "{\"id\":\"anna\",\"embedding\":[0.5,-1]}\n{\"embedding\":[3,4],\"id\":\"b\u{e9}a\"}\n";
    let embeddings = parse(Format::Jsonl, text).unwrap();
    assert_eq!(rows(&embeddings), want);
    assert_eq!(embeddings.ids().unwrap(), ["anna", "b\u{e9}a"]);
    assert_eq!(embeddings.label(None).unwrap(), ["anna", "b\u{e9}a"]);
}

#[test]
fn jsonl_errors_name_row_and_line() {
    let shape = r#"not an array of numbers or {"embedding": [...], "id": "..."}"#;
    for (text, error) in [
        (
            "[1,2]\n[3]\n",
            "E-DIMENSION: in: row 1 (line 2): 1 values, but the first row has 2".into(),
        ),
        ("[]\n", "E-DIMENSION: in: row 0 (line 1): 0 dimensions: 1 to 512 are supported".into()),
        ("[0,0]\n", "E-ZERO-VECTOR: in: row 0 (line 1): all values are zero".into()),
        ("[1,\n", "E-PARSE: in: row 0 (line 1): not valid JSON (at byte 3)".into()),
        ("[1] [2]\n", "E-PARSE: in: row 0 (line 1): not valid JSON (at byte 5)".into()),
        ("[NaN]\n", "E-PARSE: in: row 0 (line 1): not valid JSON (at byte 2)".into()),
        ("[1e999]\n", "E-PARSE: in: row 0 (line 1): not valid JSON (at byte 6)".into()),
        ("[1]\n\n[2]\n", "E-PARSE: in: row 1 (line 2): the line is empty".into()),
        ("[\"0.123\"]\n", format!("E-PARSE: in: row 0 (line 1): {shape} (at byte 8)")),
        ("7\n", format!("E-PARSE: in: row 0 (line 1): {shape} (at byte 1)")),
        ("{\"id\":\"a\"}\n", format!("E-PARSE: in: row 0 (line 1): {shape} (at byte 10)")),
        (
            "{\"embedding\":[1],\"id\":7}\n",
            format!("E-PARSE: in: row 0 (line 1): {shape} (at byte 23)"),
        ),
        (
            "{\"embedding\":[1],\"embedding\":[1]}\n",
            format!("E-PARSE: in: row 0 (line 1): {shape} (at byte 28)"),
        ),
        (
            "{\"embedding\":[1],\"id\":\"\"}\n",
            "E-ID: in: row 0 (line 1), id: the id is empty".into(),
        ),
        (
            "{\"embedding\":[1],\"id\":\"a\"}\n[1]\n",
            "E-PARSE: in: row 1 (line 2), id: some lines have an id and some have none".into(),
        ),
        (
            "[1]\n{\"embedding\":[1],\"id\":\"a\"}\n",
            "E-PARSE: in: row 1 (line 2), id: some lines have an id and some have none".into(),
        ),
        ("", "E-PARSE: in: holds no embedding".into()),
    ] {
        assert_eq!(refusal(Format::Jsonl, text), error, "{text:?}");
    }
    let wide = format!("[{}]", vec!["1"; MAX_DIMS + 1].join(","));
    let error = "E-DIMENSION: in: row 0 (line 1): 513 dimensions: 1 to 512 are supported";
    assert_eq!(refusal(Format::Jsonl, wide), error);
    let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
    assert_eq!(parse(Format::Jsonl, deep).unwrap_err().kind(), Kind::Parse);
}

#[test]
fn errors_never_repeat_a_value() {
    for (format, text) in [
        (Format::Csv, "0.31415,x0.31415\n"),
        (Format::Csv, "0.31415,1\n0.31415\n"),
        (Format::Csv, "0.31415,inf\n"),
        (Format::Jsonl, "[0.31415,\"0.31415\"]\n"),
        (Format::Jsonl, "[0.31415,0.31415e999]\n"),
        (Format::Jsonl, "{\"embedding\":\"0.31415\"}\n"),
    ] {
        assert!(!refusal(format, text).contains("31415"), "{text}");
    }
    assert_eq!(format!("{:?}", parse(Format::Csv, "0.31415,1").unwrap()), "Embeddings(1 x 2)");
}

// --- files ---

#[test]
fn the_extension_chooses_the_format() {
    for (name, format) in
        [("a.npy", Format::Npy), ("a.b.CSV", Format::Csv), ("a.jsonl", Format::Jsonl)]
    {
        assert_eq!(Format::of(Path::new(name)).unwrap(), format);
    }
    for name in ["a.npz", "a.json", "npy", "a.", ""] {
        let error = Format::of(Path::new(name)).unwrap_err();
        assert_eq!(error.kind(), Kind::Format);
        assert!(error.message().contains(".npy, .csv, .jsonl"));
    }
}

#[test]
fn files_that_are_none_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("d.csv");
    fs::create_dir(&directory).unwrap();
    let error = Embeddings::load(&directory).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Io, "is not a regular file"));
    let error = Embeddings::load(&dir.path().join("absent.csv")).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("absent.csv: cannot open: "), "{error}");
    assert_eq!(load_ids(&dir.path().join("absent")).unwrap_err().kind(), Kind::Io);
}

#[test]
fn label_wants_ids_from_one_place_and_one_for_each_row() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let bare = Embeddings::load(&file("a.csv", "1,2\n3,4\n")).unwrap();
    let own = Embeddings::load(&file("a.jsonl", "{\"embedding\":[1],\"id\":\"x\"}")).unwrap();
    let (two, three) = (file("two", "a\nb\n"), file("three", "a\nb\nc\n"));
    assert_eq!(bare.label(Some(&two)).unwrap(), ["a", "b"]);
    let error = bare.label(Some(&three)).unwrap_err();
    assert_eq!(error.kind(), Kind::RowsIds);
    assert!(error.message().starts_with("has 2 rows, but "), "{error}");
    assert!(error.message().ends_with("three has 3 ids"), "{error}");
    assert_eq!(bare.label(None).unwrap_err().kind(), Kind::Argument);
    assert_eq!(own.label(Some(&two)).unwrap_err().kind(), Kind::Argument);
    assert!(bare.require_dims(2).is_ok());
    let error = bare.require_dims(128).unwrap_err();
    assert_eq!(error.message(), "has 2 dimensions, but the store has 128");
    assert_eq!(error.kind(), Kind::Dimension);
}

#[test]
fn the_extract_loads() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let embeddings = Embeddings::load(&data.join("embeddings-500x4.npy")).unwrap();
    assert_eq!((embeddings.rows(), embeddings.dims()), (2000, 128));
    for row in rows(&embeddings) {
        assert!((row.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-6);
    }
    let ids = embeddings.label(Some(&data.join("embeddings-500x4.ids.txt"))).unwrap();
    let first = select(&ids, &"0".parse().unwrap()).unwrap();
    assert_eq!(first.len(), 500);
    assert_eq!((first[1], first[499]), ((4, "id00001"), (1996, "id00499")));
    require_unique(&first).unwrap();
    let rest = select(&ids, &"1..3".parse().unwrap()).unwrap();
    assert_eq!(rest.len(), 1500);
    assert_eq!(rest, select(&ids, &"1..".parse().unwrap()).unwrap());
    let error = select(&ids, &"0,4".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "E-CAPTURE: row 3: id \"id00000\" has 4 capture(s), numbered from 0: none is 4"
    );
}

// --- ids and captures ---

#[test]
fn ids_are_lines() {
    assert_eq!(parse_ids("ids", b"a\nb c\r\n\xc3\xa9").unwrap(), ["a", "b c", "\u{e9}"]);
    assert_eq!(parse_ids("ids", b"\xef\xbb\xbfa\n").unwrap(), ["a"]);
    assert_eq!(parse_ids("ids", "x".repeat(256).as_bytes()).unwrap().len(), 1);
    assert!(parse_ids("ids", b"").unwrap().is_empty());
    for (text, error) in [
        (&b"a\n\nb\n"[..], "E-ID: ids: row 1 (line 2): the id is empty"),
        (b"a\n\n", "E-ID: ids: row 1 (line 2): the id is empty"),
        (b"a\n\r\n", "E-ID: ids: row 1 (line 2): the id is empty"),
        (b"a\tb\n", "E-ID: ids: row 0 (line 1): the id holds a control character"),
        (b"a\r\r\n", "E-ID: ids: row 0 (line 1): the id holds a control character"),
        (b"a\xff\n", "E-ID: ids: row 0 (line 1): the id is not UTF-8"),
        (&[b'x'; 257], "E-ID: ids: row 0 (line 1): the id is longer than 256 bytes"),
    ] {
        assert_eq!(parse_ids("ids", text).unwrap_err().to_string(), error);
    }
}

#[test]
fn captures_parse() {
    for (text, selected) in [
        ("0", &[0][..]),
        ("1..3", &[1, 2, 3]),
        ("2..2", &[2]),
        ("0,2", &[0, 2]),
        (" 4 , 0..1", &[0, 1, 4]),
        ("3..", &[3, 4, 5]),
        ("0,4..", &[0, 4, 5]),
    ] {
        let captures: Captures = text.parse().unwrap();
        let got: Vec<u32> = (0..6).filter(|&k| captures.contains(k)).collect();
        assert_eq!(got, selected, "{text}");
    }
    assert!("5..".parse::<Captures>().unwrap().contains(u32::MAX));
    let many = vec!["1"; 65].join(",");
    let wrong = [
        "",
        ",",
        "0,",
        "..",
        "..3",
        "3..1",
        "-1",
        "+1",
        "1.5",
        "0...2",
        "1..2..3",
        "a",
        "4294967296",
        &many,
    ];
    for text in wrong {
        let error = text.parse::<Captures>().unwrap_err();
        assert_eq!((error.kind(), error.field()), (Kind::Argument, Some("captures")), "{text}");
    }
}

#[test]
fn selection_counts_occurrences() {
    let ids = ["b", "a", "b", "c", "b", "a"].map(String::from);
    let pick = |text: &str| select(&ids, &text.parse().unwrap());
    assert_eq!(pick("0").unwrap(), [(0, "b"), (1, "a"), (3, "c")]);
    assert_eq!(pick("1..").unwrap(), [(2, "b"), (4, "b"), (5, "a")]);
    assert_eq!(pick("0..").unwrap().len(), 6);
    // Capture 1 is demanded of everyone, and c has none.
    let error = pick("1").unwrap_err();
    assert_eq!((error.kind(), error.row()), (Kind::Capture, Some(3)));
    assert!(error.message().contains("\"c\" has 1"), "{error}");
    assert_eq!(pick("7..").unwrap_err().kind(), Kind::Capture);
    assert_eq!(select(&[], &"0".parse().unwrap()).unwrap_err().kind(), Kind::Capture);

    require_unique(&pick("0").unwrap()).unwrap();
    let error = require_unique(&pick("0..").unwrap()).unwrap_err();
    assert_eq!((error.kind(), error.row()), (Kind::DuplicateId, Some(2)));
    assert_eq!(error.message(), "id \"b\" was at row 0 already: choose one capture");
}

// --- any bytes whatever ---

/// What every reader promises of what it accepts.
fn check(outcome: Result<Embeddings, Error>) {
    match outcome {
        Ok(embeddings) => {
            assert!((1..=MAX_DIMS).contains(&embeddings.dims()) && embeddings.rows() > 0);
            assert_eq!(embeddings.values().len(), embeddings.rows() * embeddings.dims());
            assert!(embeddings.values().iter().all(|v| v.is_finite()));
            assert!(rows(&embeddings).iter().all(|row| row.iter().any(|&v| v != 0.0)));
            assert!(embeddings.ids().is_none_or(|ids| ids.len() == embeddings.rows()));
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(parse(Format::Csv, &bytes));
        check(parse(Format::Jsonl, &bytes));
        check(parse(Format::Npy, &bytes));
        let _ = parse_ids("ids", &bytes);
    }

    #[test]
    fn any_text(text in "[-0-9.,einfatx\"\\[\\]{}:\r\n ]{0,200}") {
        check(parse(Format::Csv, &text));
        check(parse(Format::Jsonl, &text));
        if let Ok(captures) = text.parse::<Captures>() {
            let _ = captures.contains(3);
        }
    }

    #[test]
    fn any_captures(text in "[0-9., ]{0,12}") {
        let _ = text.parse::<Captures>();
    }

    #[test]
    fn any_npy_header(
        header in "[(){}\\[\\]'\"a-fo-z0-9:,<>|_+. -]{0,120}",
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        check(parse(Format::Npy, npy(&header, &data)));
    }

    #[test]
    fn any_change_of_an_npy_file(changes in prop::collection::vec((0usize..144, any::<u8>()), 1..6)) {
        let mut file = plain("<f4", false, "(2, 2)", &f4(&[1.0, 2.0, 3.0, 4.0]));
        for (place, byte) in changes {
            if let Some(b) = file.get_mut(place) {
                *b = byte;
            }
        }
        check(parse(Format::Npy, file));
    }

    #[test]
    fn formats_agree(dims in 1usize..20, count in 1usize..20, seed in any::<u64>()) {
        let mut x = seed | 1;
        let values: Vec<f64> = (0..dims * count).map(|_| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0 + f64::MIN_POSITIVE
        }).collect();
        let data = bytes_of(&values, |v| v.to_le_bytes().to_vec());
        let from_npy = parse(Format::Npy, plain("<f8", false, &format!("({count}, {dims})"), &data));
        let lines: Vec<String> = values.chunks(dims).map(|row| {
            row.iter().map(|v| format!("{v:e}")).collect::<Vec<_>>().join(",")
        }).collect();
        let from_csv = parse(Format::Csv, lines.join("\n"));
        let from_jsonl = parse(Format::Jsonl, lines.iter().map(|l| format!("[{l}]\n")).collect::<String>());
        for read in [from_npy, from_csv, from_jsonl] {
            let read = read.unwrap();
            prop_assert_eq!(read.values(), &values[..]);
            prop_assert_eq!(read.dims(), dims);
        }
    }
}
