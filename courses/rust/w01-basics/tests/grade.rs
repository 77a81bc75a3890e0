use basics::*;

#[test]
fn mean_of_nothing_is_zero() {
    assert_eq!(mean(&[]), 0.0, "0 / 0 is NaN: ask `is_empty()` first");
    assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0, "the mean of 1, 2 and 6");
}

#[test]
fn argmax_takes_the_first_of_the_largest() {
    assert_eq!(argmax(&[0.5]), 0, "there is only one");
    assert_eq!(argmax(&[-3.0, -1.0, -2.0]), 1, "all are below zero: do not begin with 0.0");
    assert_eq!(argmax(&[1.0, 7.0, 7.0]), 1, "of two equal ones the first counts");
}

#[test]
fn perplexity_is_the_exponential_of_the_mean_loss() {
    let of_a_coin = perplexity(&[2f64.ln(), 2f64.ln()]);
    assert!((of_a_coin - 2.0).abs() < 1e-12, "a coin has perplexity 2, not {of_a_coin}");
}

#[test]
fn learning_rate_rises_then_falls() {
    let rates = [0, 5, 10, 55, 100, 200].map(|step| learning_rate(step, 10, 100, 0.02));
    for (found, wanted) in rates.iter().zip([0.0, 0.01, 0.02, 0.01, 0.0, 0.0]) {
        assert!((found - wanted).abs() < 1e-12, "wanted {wanted}, found {found} in {rates:?}");
    }
    assert_eq!(learning_rate(0, 0, 10, 1.0), 1.0, "without warm-up the peak is at step 0");
}

#[test]
fn parameters_of_a_small_model() {
    let tiny = Config {
        vocabulary: 100,
        width: 8,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_size: 4,
        feed_forward: 16,
    };
    assert_eq!(count_parameters(tiny), 2008, "V = 100, C = 8, L = 2, H = 2, K = 1, D = 4, F = 16");
}

#[test]
fn parameters_of_a_model_with_billions() {
    let large = Config {
        vocabulary: 151_936,
        width: 8192,
        layers: 80,
        heads: 64,
        kv_heads: 8,
        head_size: 128,
        feed_forward: 49_152,
    };
    assert_eq!(count_parameters(large), 109_962_358_784, "convert to u64 before you multiply");
}

#[test]
fn bar_shows_a_share() {
    assert_eq!(bar(0.5, 4), "##..", "half of four");
    assert_eq!(bar(0.76, 10), "########..", "7.6 characters are 8");
    assert_eq!(bar(1.7, 3), "###", "more than everything is everything");
    assert_eq!(bar(-0.2, 3), "...", "less than nothing is nothing");
}
