use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    compute: ComputeArgs,
}

/// What the flags come to, or what is said against them.
fn read(flags: &[&str]) -> Result<ProviderSettings, String> {
    let program = std::iter::once(&"lexivec");
    let flags = Flags::try_parse_from(program.chain(flags)).map_err(|e| e.to_string())?;
    flags.compute.providers().map_err(|usage| usage.0)
}

#[test]
fn a_share_is_above_0_and_at_most_1() {
    assert_eq!(fraction("0.9"), Ok(0.9));
    assert_eq!(fraction("1"), Ok(1.0));
    for wrong in ["0", "-0.5", "1.01", "90%", "NaN"] {
        assert!(fraction(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn providers_and_devices_that_make_no_sense_are_rejected_in_the_flags_words() {
    for (flags, said) in [
        (&["--ep", "cuda,cuda"][..], "--ep names cuda twice"),
        (
            &["--ep", "cuda,cpu"],
            "--ep cpu stands alone: leave `cpu` out",
        ),
        (
            &["--ep", "cpu,cuda"],
            "--ep cpu stands alone: leave `cpu` out",
        ),
        (&["--ep", ""], "`` is no execution provider; there are cpu"),
        (
            &["--ep", "cuda", "--devices", ""],
            "`` is not the number of a GPU",
        ),
        (
            &["--ep", "cuda", "--devices=-1"],
            "`-1` is not the number of a GPU",
        ),
        (
            &["--ep", "cuda", "--devices", "0,"],
            "`` is not the number of a GPU",
        ),
        (
            &["--ep", "cuda", "--devices", "1,0,1"],
            "--devices names 1 twice",
        ),
        (&["--devices", "3"], "--devices are GPUs: give --ep cuda"),
        (
            &["--ep", "openvino", "--devices", "0,1"],
            "--devices are GPUs: give --ep cuda",
        ),
    ] {
        let message = read(flags).unwrap_err();
        assert!(message.contains(said), "{flags:?}: {message}");
    }
    let settings = read(&["--ep", "tensorrt,cuda", "--devices", "1, 0"]).unwrap();
    assert_eq!(settings.order, [Provider::TensorRt, Provider::Cuda]);
    assert_eq!(settings.device, 1);
}

#[test]
fn an_option_of_a_provider_is_given_once() {
    let given = |options: &str| {
        let settings = read(&["--ep", "cuda", "--ep-option", options]);
        settings.map(|s| {
            s.options
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        given("tf32=1, cuda.x=a").unwrap(),
        ["cuda.tf32=1", "cuda.x=a"]
    );
    for (options, said) in [
        (
            "tf32=1,cuda.tf32=0",
            "--ep-option: `cuda.tf32` is given twice: `1` and `0`",
        ),
        (
            "cudda.tf32=1",
            "`cudda` in `cudda.tf32` is no execution provider; accepted here: `cuda.`",
        ),
        (
            "cpu.x=1",
            "--ep-option: the CPU provider has no options, so `cpu.x` has no use",
        ),
    ] {
        assert_eq!(
            given(options).unwrap_err().split(':').next(),
            Some("--ep-option")
        );
        let message = given(options).unwrap_err();
        assert!(message.contains(said), "{message}");
    }
}
