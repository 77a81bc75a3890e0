use std::path::PathBuf;

use candle_core::{Device, Result, Tensor};
use candle_engine::*;

/// A model of 6,000 random weights, and what airust.gpt computes with it.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn expected() -> (Vec<u32>, Vec<Vec<f32>>) {
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("expected.json");
    let values: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|n| n.as_f64().expect("a number")).collect()
    };
    let rows = values["logits"].as_array().expect("a list of lists").iter();
    let logits = rows.map(|row| numbers(row).into_iter().map(|n| n as f32).collect()).collect();
    (numbers(&values["ids"]).into_iter().map(|n| n as u32).collect(), logits)
}

fn near(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "numbers in {what}");
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (found - wanted).abs();
        assert!(error < 1e-4, "{what}, number {place}: {wanted} wanted, {found} found");
    }
}

fn logits(model: &Model, ids: &[u32], cache: &mut Cache) -> Vec<Vec<f32>> {
    model.forward(ids, cache).expect("a forward pass").to_vec2().expect("(T, V)")
}

#[test]
fn norms_divide_by_the_root_mean_square() -> Result<()> {
    let x = Tensor::new(&[[3f32, 4.0], [0.0, 0.0]], &Device::Cpu)?;
    let gain = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
    let found = rms_norm(&x, &gain, 1e-6)?.to_vec2::<f32>()?;
    let root = 12.5f32.sqrt();
    near(&found[0], &[3.0 / root, 8.0 / root], "the norm of (3, 4) with gains 1 and 2");
    near(&found[1], &[0.0, 0.0], "the norm of zeros, where eps keeps us from 0 / 0");
    Ok(())
}

#[test]
fn positions_turn_pairs_of_numbers() -> Result<()> {
    let x = Tensor::new(&[[[1f32, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]], &Device::Cpu)?;
    let found = rotate(&x, 0, 100.0)?.to_vec3::<f32>()?;
    near(&found[0][0], &[1.0, 0.0, 0.0, 1.0], "at position 0 nothing turns");
    let (fast, slow) = (1f32, 0.1f32); // 100^0 and 100^(-2/4)
    let wanted = [fast.cos(), -slow.sin(), fast.sin(), slow.cos()];
    near(&found[0][1], &wanted, "at position 1, where the pairs are (0, 2) and (1, 3)");
    let later = rotate(&x, 1, 100.0)?.to_vec3::<f32>()?;
    near(&later[0][0], &wanted, "the first row, if it stands at position 1");
    Ok(())
}

#[test]
fn logits_of_the_first_token() {
    let model = Model::load(&folder()).expect("the model loads");
    let (ids, wanted) = expected();
    near(&logits(&model, &ids[..1], &mut model.new_cache())[0], &wanted[0], "logits of one token");
}

#[test]
fn logits_of_a_text() {
    let model = Model::load(&folder()).expect("the model loads");
    let (ids, wanted) = expected();
    let found = logits(&model, &ids, &mut model.new_cache());
    for (position, wanted) in wanted.iter().enumerate() {
        near(&found[position], wanted, &format!("logits at position {position}"));
    }
}

#[test]
fn later_tokens_change_nothing_before_them() {
    let model = Model::load(&folder()).expect("the model loads");
    let (ids, _) = expected();
    let long = logits(&model, &ids, &mut model.new_cache());
    let short = logits(&model, &ids[..4], &mut model.new_cache());
    near(&long[3], &short[3], "position 3 with and without what comes behind it");
}

#[test]
fn a_cache_gives_the_same_numbers() {
    let model = Model::load(&folder()).expect("the model loads");
    let (ids, wanted) = expected();
    let mut cache = model.new_cache();
    let mut found = logits(&model, &ids[..3], &mut cache);
    found.extend(logits(&model, &ids[3..4], &mut cache));
    found.extend(logits(&model, &ids[4..], &mut cache));
    for (position, wanted) in wanted.iter().enumerate() {
        near(
            &found[position],
            wanted,
            &format!("position {position} of 3, 1 and the other tokens"),
        );
    }
}
