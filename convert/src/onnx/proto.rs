//! The ONNX messages, generated from `proto/onnx.proto` (ONNX 1.23, IR 14). They are committed, because their generator takes
//! longer to compile than they do.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rustdoc::all
)]

include!("../../proto/onnx.rs");

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `LEXIVEC_UPDATE=1 cargo nextest run messages_are_those_of_the_schema` writes the file.
    #[test]
    fn messages_are_those_of_the_schema() {
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let made = tempfile::tempdir().unwrap();
        // protox replaces protoc, which would have to be installed.
        let descriptors = protox::compile([schema.join("onnx.proto")], [&schema]).unwrap();
        prost_build::Config::new()
            .out_dir(made.path())
            .compile_fds(descriptors)
            .unwrap();
        let generated = fs_err::read_to_string(made.path().join("onnx.rs")).unwrap();
        let committed = schema.join("onnx.rs");
        if std::env::var_os("LEXIVEC_UPDATE").is_some() {
            fs_err::write(&committed, &generated).unwrap();
        }
        assert!(
            fs_err::read_to_string(committed).unwrap() == generated,
            "convert/proto/onnx.rs differs from the schema: LEXIVEC_UPDATE=1 cargo nextest run messages_are_those_of_the_schema"
        );
    }
}
