use tensors::*;

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(
        "{{\"t\": {{\"dtype\": \"{dtype}\", \"shape\": {shape}, \"data_offsets\": {offsets}}}}}"
    )
}

/// Two tensors, eight bytes and two.
fn good() -> Vec<u8> {
    let header = r#"{"__metadata__": {"format": "pt"},
        "wide.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [1], "data_offsets": [8, 10]} }   "#;
    file(header, &[0, 0, 128, 63, 0, 0, 0, 192, 64, 63])
}

#[test]
fn names_and_shapes() {
    let bytes = good();
    let tensors = Tensors::parse(&bytes).expect("the file is valid");
    let wide = tensors.get("wide.weight").expect("there is wide.weight");
    assert_eq!((wide.dtype, &wide.shape[..]), (Dtype::F32, &[1, 2][..]), "of wide.weight");
    assert_eq!(wide.to_f32(), [1.0, -2.0], "its numbers");
    assert!(tensors.get("c").is_none(), "there is no c");
    let scalar = file(&entry("F32", "[]", "[0, 4]"), &1f32.to_le_bytes());
    let scalar = Tensors::parse(&scalar).expect("a single number has an empty shape");
    assert_eq!(scalar.get("t").expect("there is t").to_f32(), [1.0], "a single number");
}

#[test]
fn data_is_borrowed_from_the_file() {
    let bytes = good();
    let tensors = Tensors::parse(&bytes).expect("the file is valid");
    let data = tensors.get("b").expect("there is b").data;
    assert_eq!(data.as_ptr(), bytes[bytes.len() - 2..].as_ptr(), "the bytes were copied");
}

#[test]
fn views_outlive_the_table() {
    let bytes = good();
    let data = {
        let tensors = Tensors::parse(&bytes).expect("the file is valid");
        tensors.get("b").expect("there is b").data
    };
    assert_eq!(data, [64, 63], "what is borrowed from the file, not from the table, stays valid");
}

#[test]
fn floats_of_every_width() {
    let of = |dtype: &str, halves: &[u16]| {
        let data: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let (shape, offsets) = (format!("[{}]", halves.len()), format!("[0, {}]", data.len()));
        let bytes = file(&entry(dtype, &shape, &offsets), &data);
        Tensors::parse(&bytes).expect("valid").get("t").expect("there is t").to_f32()
    };
    assert_eq!(of("BF16", &[0x3f80, 0xc040, 0x0000]), [1.0, -3.0, 0.0], "of bfloat16");
    let small = 2f32.powi(-24); // the smallest number above 0
    let found = of("F16", &[0x3c00, 0xc200, 0x7bff, 0x0001, 0x8000, 0x7c00]);
    assert_eq!(found, [1.0, -3.0, 65504.0, small, 0.0, f32::INFINITY], "of float16");
}

#[test]
fn metadata_is_no_tensor() {
    let bytes = good();
    let tensors = Tensors::parse(&bytes).expect("the file is valid");
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["wide.weight", "b"], "names in their order");
}

#[test]
fn too_short_files_are_errors() {
    let whole = good();
    for length in [0, 7, 8, 60] {
        let found = Tensors::parse(&whole[..length]).map(|_| ());
        assert_eq!(found, Err(FormatError::TooShort), "of the first {length} bytes");
    }
    let endless = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert_eq!(Tensors::parse(&endless).map(|_| ()), Err(FormatError::TooShort), "2^64 - 1 bytes");
    for header in ["", "[]", "{", "{\"t\": 1}", "{\"t\": {\"dtype\": \"F32\", \"shape\": [1]}}"] {
        let found = Tensors::parse(&file(header, &[0; 4])).map(|_| ());
        assert_eq!(found, Err(FormatError::Header), "of the header `{header}`");
    }
    let found = Tensors::parse(&file(&entry("Q4", "[1]", "[0, 4]"), &[0; 4])).map(|_| ());
    assert_eq!(found, Err(FormatError::Dtype("Q4".into())), "of a dtype that we do not know");
}

#[test]
fn places_outside_are_errors() {
    for offsets in ["[0, 8]", "[4, 0]", "[9, 13]", "[0, 18446744073709551615]"] {
        let found = Tensors::parse(&file(&entry("F32", "[1]", offsets), &[0; 4])).map(|_| ());
        assert_eq!(found, Err(FormatError::Outside("t".into())), "of {offsets} in 4 bytes");
    }
}

#[test]
fn shapes_must_fit_their_bytes() {
    for shape in ["[2]", "[0]", "[4294967296, 4294967296]"] {
        let found = Tensors::parse(&file(&entry("F32", shape, "[0, 4]"), &[0; 4])).map(|_| ());
        assert_eq!(found, Err(FormatError::Shape("t".into())), "of {shape} in 4 bytes");
    }
}
