//! Tests of whole comparisons between systems whose vectors are known.

use std::time::Duration;

use lexivec_convert::Silent;

use crate::fake_system::{FakeSystem, system};
use crate::*;

const SETTINGS: ComparisonSettings = ComparisonSettings {
    dimensions: Vec::new(),
    neighbour_texts: 1000,
    bootstrap: Bootstrap {
        resamples: 50,
        seed: 1,
    },
    speed: Duration::ZERO,
};

fn data(count: usize) -> ComparisonData {
    let sample = |i: usize| Sample {
        text: format!("text number {i}"),
        place: format!("texts.txt:{}", i + 1),
        kind: None,
    };
    ComparisonData {
        texts: (0..count).map(sample).collect(),
        pairs: Vec::new(),
        retrieval: None,
    }
}

/// A vector that depends only on the text.
fn seeded(text: &str) -> Vec<f32> {
    let seed = text
        .bytes()
        .fold(7u64, |s, b| s.wrapping_mul(31) + u64::from(b));
    let mut random = fastrand::Rng::with_seed(seed);
    (0..64).map(|_| random.f32() - 0.5).collect()
}

fn compare(
    data: &ComparisonData,
    settings: &ComparisonSettings,
    systems: [System; 2],
) -> (Baseline, Candidate) {
    let comparison = Comparison {
        data,
        settings,
        progress: &Silent,
    };
    let [mut baseline, mut candidate] = systems.map(|system| comparison.measure(system).unwrap());
    let found = comparison.compare(&mut baseline, &mut candidate).unwrap();
    (comparison.baseline(&baseline), found)
}

#[test]
fn a_system_against_itself_is_perfect_in_every_figure() {
    let mut data = data(120);
    data.pairs = (0..20)
        .map(|i| ScoredPair {
            a: format!("a{i}"),
            b: format!("b{i}"),
            score: f64::from(i * 7 % 11),
        })
        .collect();
    data.retrieval = Some(Retrieval {
        name: "set".to_owned(),
        queries: (0..6)
            .map(|i| Query {
                id: format!("q{i}"),
                text: format!("query {i}"),
                judged: vec![(i, 2.0), (i + 7, 1.0)],
                itself: None,
            })
            .collect(),
        documents: (0..30).map(|i| format!("document {i}")).collect(),
        instruction: None,
    });
    let settings = ComparisonSettings {
        dimensions: vec![1024, 32, 16, 32],
        ..SETTINGS
    };
    let systems = ["one", "other"].map(|name| system(name, FakeSystem::each(64, seeded)));
    let (baseline, found) = compare(&data, &settings, systems);
    let widths: Vec<_> = found.quality.iter().map(|q| q.dimensions).collect();
    assert_eq!(widths, [64, 32, 16]);
    for quality in &found.quality {
        let cosine = quality.all.cosine.unwrap();
        assert_eq!((cosine.min, cosine.mean), (1.0, 1.0));
        assert_eq!(quality.all.overlap, [Some(1.0); 3]);
        assert_eq!(quality.all.similarity_spearman, Some(1.0));
    }
    assert_eq!(found.histogram.unwrap().counts[0], 120);
    assert_eq!(baseline.retrieval, found.retrieval);
    assert_eq!(baseline.pairs, found.pairs);
    assert_eq!(found.ndcg_change.unwrap().mean, 0.0);
    let change = found.spearman_change.unwrap();
    let interval = change.interval.unwrap();
    assert_eq!((change.mean, interval.low, interval.high), (0.0, 0.0, 0.0));
    assert!(found.notes.is_empty());
    assert!(found.layers_missing.unwrap().contains("one does not show"));
}

#[test]
fn the_worst_texts_are_named_in_order() {
    let data = data(60);
    // Text 41 is rotated to a cosine of 3/5, text 17 to 4/5; the others stay.
    let turned = |text: &str| match text {
        "text number 41" => vec![3.0, 4.0],
        "text number 17" => vec![4.0, 3.0],
        _ => vec![1.0, 0.0],
    };
    let systems = [
        system("straight", FakeSystem::each(2, |_| vec![1.0, 0.0])),
        system("turned", FakeSystem::each(2, turned)),
    ];
    let (_, found) = compare(&data, &SETTINGS, systems);
    assert_eq!(found.worst.len(), 20);
    let first: Vec<_> = found.worst[..3].iter().map(|w| w.place.as_str()).collect();
    assert_eq!(first, ["texts.txt:42", "texts.txt:18", "texts.txt:1"]);
    let cosine = found.quality[0].all.cosine.unwrap();
    assert!((cosine.mean - (58.0 + 0.6 + 0.8) / 60.0).abs() < 1e-12);
    assert_eq!((cosine.min, found.worst[0].cosine), (0.6, 0.6));

    let gates = Gates {
        min_cosine: Some(0.9),
        min_mean_cosine: Some(0.95),
        min_overlap: Some(0.0),
        max_ndcg_drop: Some(0.1),
    };
    let verdicts = gates.judge(&found);
    let passed: Vec<bool> = verdicts.iter().map(|v| v.passed).collect();
    // The mean reaches its bound. Without a retrieval set the last bound fails.
    assert_eq!(passed, [false, true, true, false]);
    let message = verdicts[0].to_string();
    assert_eq!(
        message,
        "gate failed: turned: minimum cosine 0.9: 0.6, on \"text number 41\" (texts.txt:42)"
    );
    assert!(verdicts[3].to_string().contains("no retrieval set"));
}

#[test]
fn texts_without_a_finite_vector_are_named_and_count_as_zeros() {
    struct Overflowing;
    impl Embedder for Overflowing {
        fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
            let mut found = Embedded::new(2);
            for (i, text) in texts.iter().enumerate() {
                let broken = text.ends_with(" 3");
                found
                    .vectors
                    .push(if broken { &[0.0; 2] } else { &[1.0, 0.0] });
                if broken {
                    found.not_finite.push(i);
                }
            }
            Ok(found)
        }
    }
    let data = data(CHUNK + 10);
    let mut broken = system("overflowing", FakeSystem::each(2, |_| vec![1.0, 0.0]));
    broken.embedder = Box::new(Overflowing);
    let whole = system("whole", FakeSystem::each(2, |_| vec![1.0, 0.0]));
    let (_, found) = compare(&data, &SETTINGS, [whole, broken]);
    assert_eq!(found.not_finite.len(), 1);
    assert_eq!(found.not_finite[0].text, "text number 3");
    assert_eq!(
        (found.worst[0].cosine, &*found.worst[0].text),
        (0.0, "text number 3")
    );
    assert!(
        !serde_json::to_string(&found)
            .unwrap()
            .contains("null,\"p1\"")
    );
}

#[test]
fn systems_of_different_widths_are_compared_at_common_widths() {
    let data = data(30);
    let settings = ComparisonSettings {
        dimensions: vec![32, 16],
        ..SETTINGS
    };
    let narrow = |text: &str| seeded(text)[..32].to_vec();
    let systems = [
        system("wide", FakeSystem::each(64, seeded)),
        system("narrow", FakeSystem::each(32, narrow)),
    ];
    let (_, found) = compare(&data, &settings, systems);
    assert!(found.notes[0].contains("32 dimensions and the baseline's 64"));
    assert!(found.histogram.is_none() && found.worst.is_empty());
    let shown: Vec<_> = found
        .quality
        .iter()
        .map(|q| (q.dimensions, q.full, q.all.cosine.is_some()))
        .collect();
    assert_eq!(shown, [(32, true, false), (16, false, true)]);
    assert_eq!(found.quality[1].all.cosine.unwrap().min, 1.0);
    let gates = Gates {
        min_cosine: Some(0.5),
        ..Gates::default()
    };
    let verdict = &gates.judge(&found)[0];
    assert!(!verdict.passed && verdict.to_string().contains("differ in width"));
}

#[test]
fn a_vector_of_the_wrong_width_is_an_error_that_names_the_system() {
    let mut liar = system("liar", FakeSystem::each(8, |_| vec![1.0; 8]));
    liar.facts.width = 16;
    let error = liar.embed(&["text"]).unwrap_err().to_string();
    assert!(error.starts_with("liar: 1 texts gave 1 vectors of 8 dimensions"));
}

#[test]
fn a_report_with_the_former_name_of_truncated_is_read() {
    let systems = ["one", "other"].map(|name| system(name, FakeSystem::each(64, seeded)));
    let (_, found) = compare(&data(30), &SETTINGS, systems);
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.contains("\"truncated\":0"));
    let former = text.replace("\"truncated\"", "\"cut\"");
    let read: Candidate = serde_json::from_str(&former).unwrap();
    assert_eq!(read.truncated, found.truncated);
}
