//! Options of execution providers, as a user writes them: `cuda.gpu_mem_limit=8589934592`.

use std::fmt;

use super::{Provider, with_implied};

/// An option of one provider, in the provider's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOption {
    /// Whose option it is.
    pub provider: Provider,
    /// Its name without the provider's.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl ProviderOption {
    /// Reads a key and a value. The key begins with the name of a provider in `order`, or of CUDA where TensorRT implies
    /// it; a key without one belongs to the only provider of `order` that takes options.
    ///
    /// # Errors
    /// The key has no provider, or one that is not in use; the message names the accepted prefixes.
    pub fn new(order: &[Provider], key: &str, value: &str) -> Result<Self, String> {
        let takes_options = |providers: Vec<Provider>| -> Vec<Provider> {
            let mut providers = providers;
            providers.retain(|p| *p != Provider::Cpu);
            providers
        };
        let (asked, usable) = (
            takes_options(order.to_vec()),
            takes_options(with_implied(order)),
        );
        let prefixes: Vec<String> = usable.iter().map(|p| format!("`{p}.`")).collect();
        let prefixes = prefixes.join(", ");
        if usable.is_empty() {
            return Err(format!(
                "the CPU provider has no options, so `{key}` has no use: give --ep cuda, tensorrt, tensorrt-rtx or openvino as well"
            ));
        }
        let named = key.split_once('.').and_then(|(prefix, rest)| {
            let provider = prefix.parse::<Provider>().ok()?;
            Some((provider, rest))
        });
        let option = |provider, key: &str| Self {
            provider,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        if named.map_or(key, |(_, rest)| rest) == "device_id" {
            return Err(format!("`{key}` is what --devices sets: use that"));
        }
        match (named, asked.as_slice()) {
            (Some((_, "")), _) => Err(format!("`{key}` names no option")),
            (Some((provider, key)), _) if usable.contains(&provider) => Ok(option(provider, key)),
            (Some((provider, _)), _) => Err(format!(
                "`{key}` is an option of {provider}, which --ep does not name; accepted here: {prefixes}"
            )),
            (None, [only]) => Ok(option(*only, key)),
            (None, _) => Err(format!(
                "`{key}` does not say whose option it is: begin it with one of {prefixes}"
            )),
        }
    }
}

impl fmt::Display for ProviderOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.provider, self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use Provider::{Cpu, Cuda, OpenVino, TensorRt};

    use super::*;

    fn read(order: &[Provider], key: &str) -> Result<String, String> {
        ProviderOption::new(order, key, "1").map(|option| option.to_string())
    }

    #[test]
    fn a_prefix_says_whose_option_it_is() {
        assert_eq!(read(&[Cuda], "cuda.tf32").unwrap(), "cuda.tf32=1");
        assert_eq!(read(&[TensorRt], "cuda.tf32").unwrap(), "cuda.tf32=1");
        assert_eq!(
            read(&[OpenVino, Cpu], "openvino.a.b").unwrap(),
            "openvino.a.b=1"
        );
    }

    #[test]
    fn without_a_prefix_it_is_the_only_providers() {
        assert_eq!(read(&[Cuda], "tf32").unwrap(), "cuda.tf32=1");
        // CUDA is behind TensorRT, but only TensorRT was named.
        assert_eq!(read(&[TensorRt], "trt_x").unwrap(), "tensorrt.trt_x=1");
    }

    #[test]
    fn a_key_of_nobody_is_answered_with_the_accepted_prefixes() {
        let message = read(&[TensorRt, Cuda], "tf32").unwrap_err();
        assert!(message.contains("one of `tensorrt.`, `cuda.`"), "{message}");
        let message = read(&[Cuda], "tensorrt.trt_x").unwrap_err();
        assert!(message.contains("which --ep does not name"), "{message}");
        assert!(message.contains("accepted here: `cuda.`"), "{message}");
        assert!(read(&[Cpu], "threads").is_err());
        assert!(read(&[Cuda], "cuda.").is_err());
    }
}
