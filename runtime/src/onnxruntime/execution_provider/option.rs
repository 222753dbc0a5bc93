//! Options of execution providers, as a user writes them: `cuda.gpu_mem_limit=8589934592`.

use std::fmt;

use super::{Provider, with_implied};

/// The option of CUDA and TensorRT that selects the GPU. lexivec sets it.
pub(super) const DEVICE: &str = "device_id";

/// An option of one provider, under the provider's own name.
///
/// ```
/// use lexivec_runtime::{Provider, ProviderOption};
///
/// let option = ProviderOption::new(&[Provider::Cuda], "gpu_mem_limit", "8589934592")?;
/// assert_eq!(option.to_string(), "cuda.gpu_mem_limit=8589934592");
/// assert!(ProviderOption::new(&[Provider::Cpu], "threads", "4").is_err());
///
/// let given = [("trt_a".to_owned(), "1".to_owned()), ("cuda.b".to_owned(), "2".to_owned())];
/// let options = ProviderOption::all(&[Provider::TensorRt], given.iter())?;
/// assert_eq!(options[1].provider, Provider::Cuda);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOption {
    /// The provider that the option belongs to.
    pub provider: Provider,
    /// The option's name, without the provider's.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl ProviderOption {
    /// Reads keys and values, each as [`ProviderOption::new`] does.
    ///
    /// # Errors
    /// One of them is wrong, or a key is given twice.
    pub fn all<'a>(
        order: &[Provider],
        given: impl Iterator<Item = &'a (String, String)>,
    ) -> Result<Vec<Self>, String> {
        let mut options: Vec<Self> = Vec::new();
        for (key, value) in given {
            let option = Self::new(order, key, value)?;
            let same = |o: &&Self| (o.provider, &o.key) == (option.provider, &option.key);
            if let Some(earlier) = options.iter().find(same) {
                return Err(format!(
                    "`{}.{}` is given twice: `{}` and `{value}`",
                    option.provider, option.key, earlier.value
                ));
            }
            options.push(option);
        }
        Ok(options)
    }

    /// Reads a key and a value. The key begins with the name of a provider in `order`, or of CUDA where TensorRT implies
    /// it; a key without one belongs to the only provider of `order` that takes options.
    ///
    /// # Errors
    /// The key has no provider, or one that is not in use; the message names the accepted prefixes.
    pub fn new(order: &[Provider], key: &str, value: &str) -> Result<Self, String> {
        let takes_options = |mut providers: Vec<Provider>| {
            providers.retain(|p| *p != Provider::Cpu);
            providers
        };
        let asked = takes_options(order.to_vec());
        let usable = takes_options(with_implied(order));
        let prefixes: Vec<String> = usable.iter().map(|p| format!("`{p}.`")).collect();
        let prefixes = prefixes.join(", ");
        let (prefix, name) = match key.split_once('.') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, key),
        };
        let named = prefix.map(str::parse::<Provider>).transpose().map_err(|_| {
            let prefix = prefix.unwrap_or_default();
            format!("`{prefix}` in `{key}` is no execution provider; accepted here: {prefixes}")
        });
        if usable.is_empty() || named == Ok(Some(Provider::Cpu)) {
            return Err(format!(
                "the CPU provider has no options, so `{key}` has no use: choose cuda, tensorrt, tensorrt-rtx or openvino, and \
                 an option of theirs"
            ));
        }
        if name == DEVICE {
            return Err(format!(
                "`{key}` cannot be set as an option: the session's device sets it"
            ));
        }
        let provider = match (named?, asked.as_slice()) {
            _ if name.is_empty() => return Err(format!("`{key}` names no option")),
            (Some(provider), _) if usable.contains(&provider) => provider,
            (Some(provider), _) => {
                return Err(format!(
                    "`{key}` is an option of {provider}, which is not in use; accepted here: {prefixes}"
                ));
            }
            (None, [only]) => *only,
            (None, _) => {
                return Err(format!(
                    "`{key}` does not say whose option it is: begin it with one of {prefixes}"
                ));
            }
        };
        Ok(Self {
            provider,
            key: name.to_owned(),
            value: value.to_owned(),
        })
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
    fn a_key_without_a_prefix_belongs_to_the_only_provider() {
        assert_eq!(read(&[Cuda], "tf32").unwrap(), "cuda.tf32=1");
        // CUDA is behind TensorRT, but only TensorRT was named.
        assert_eq!(read(&[TensorRt], "trt_x").unwrap(), "tensorrt.trt_x=1");
    }

    #[test]
    fn an_error_for_an_unknown_key_names_the_accepted_prefixes() {
        let message = read(&[TensorRt, Cuda], "tf32").unwrap_err();
        assert!(message.contains("one of `tensorrt.`, `cuda.`"), "{message}");
        let message = read(&[Cuda], "tensorrt.trt_x").unwrap_err();
        assert!(message.contains("which is not in use"), "{message}");
        assert!(message.contains("accepted here: `cuda.`"), "{message}");
        assert!(read(&[Cpu], "threads").is_err());
        assert!(read(&[Cuda], "cuda.").is_err());
        let message = read(&[Cuda], "cudda.tf32").unwrap_err();
        assert!(
            message.contains("`cudda` in `cudda.tf32` is no"),
            "{message}"
        );
        assert!(message.contains("accepted here: `cuda.`"), "{message}");
    }

    #[test]
    fn a_key_given_twice_is_rejected_with_both_values() {
        let all = |given: [(&str, &str); 2]| {
            let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
            ProviderOption::all(&[TensorRt], given.iter())
        };
        assert_eq!(all([("x", "1"), ("cuda.x", "2")]).unwrap().len(), 2);
        let message = all([("tensorrt.x", "1"), ("x", "2")]).unwrap_err();
        assert_eq!(message, "`tensorrt.x` is given twice: `1` and `2`");
    }
}
